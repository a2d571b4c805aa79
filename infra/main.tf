# What CLI Scale needs in an empty Google project: a network, a GKE Autopilot cluster, a PostgreSQL, an image registry,
# and who may do what. The product itself is deployed by Helm afterwards (skaffold.yaml, docs/deploy.md); nothing here
# talks to the Kubernetes API.
#
# Order of destruction: `helm uninstall` first (it removes the load balancer), then set deletion_protection to false and
# apply, then destroy.

provider "google" {
  project = var.project_id
  region  = var.region

  default_labels = {
    app = var.name
  }
}

locals {
  services = toset([
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "servicenetworking.googleapis.com",
    "sqladmin.googleapis.com",
  ])
}

# Waits for the APIs, so that a first `apply` in an empty project goes through.
resource "google_project_service" "main" {
  for_each = local.services

  service = each.key
  # Others in the project may use them.
  disable_on_destroy = false
}
