# Each output is the next command, or what the next command reads. docs/deploy.md walks through them.

locals {
  repository = "${google_artifact_registry_repository.apps.location}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.apps.repository_id}"

  service_account_annotations = {
    for component in keys(local.components) :
    component => { "iam.gke.io/gcp-service-account" = google_service_account.component[component].email }
  }
}

output "get_credentials" {
  description = "Points kubectl at the cluster."
  value       = "gcloud container clusters get-credentials ${google_container_cluster.main.name} --region ${google_container_cluster.main.location} --project ${var.project_id} --dns-endpoint"
}

output "docker_login" {
  description = "Lets docker push to the registry and pull from it."
  value       = "gcloud auth configure-docker ${google_artifact_registry_repository.apps.location}-docker.pkg.dev"
}

output "label_namespace" {
  description = "Puts the release namespace under restricted pod security, which a chart can't do. Skaffold does it too."
  value       = "kubectl create namespace ${var.namespace} --dry-run=client -o yaml | kubectl apply -f - && kubectl label namespace ${var.namespace} --overwrite pod-security.kubernetes.io/enforce=restricted"
}

output "deploy" {
  description = "Builds the images and deploys them."
  value       = "skaffold run --default-repo=${local.repository} --profile=staging"
}

output "cloud_build" {
  description = "The same in Cloud Build: runs the tests, builds the images, tries them and deploys them."
  value       = "gcloud builds submit --project ${var.project_id} --region ${var.region} --config cloudbuild.yaml --substitutions _CLUSTER=${google_container_cluster.main.name},_REGION=${var.region},_REPOSITORY=${local.repository},_SERVICE_ACCOUNT=${google_service_account.build.email}"
}

output "repository" {
  description = "Where images are pushed."
  value       = local.repository
}

output "ingress_address" {
  description = "The address for the DNS record, when one is reserved."
  value       = one(google_compute_global_address.ingress[*].address)
}

output "database_instance" {
  description = "Connection name of the database, as the Auth Proxy expects it."
  value       = google_sql_database_instance.main.connection_name
}

output "skaffold_env" {
  description = "Content of skaffold.env in the repository's folder, which Skaffold reads by itself."
  value       = <<-EOT
    SKAFFOLD_DEFAULT_REPO=${local.repository}
    CLISCALE_VALUES_FILE=values-site.yaml
  EOT
}

output "helm_values" {
  description = "Content of values-site.yaml in the repository's folder: what the chart has to know about this project."
  value = yamlencode({
    controller = {
      serviceAccount = { annotations = local.service_account_annotations["controller"] }
    }
    migration = {
      serviceAccount = { annotations = local.service_account_annotations["controller"] }
    }
    gateway = {
      serviceAccount = { annotations = local.service_account_annotations["gateway"] }
      podNetworks    = [var.pod_cidr]
    }
    database = {
      cloudSql = {
        instance    = google_sql_database_instance.main.connection_name
        database    = google_sql_database.main.name
        user        = google_sql_user.component["controller"].name
        gatewayUser = google_sql_user.component["gateway"].name
      }
    }
    ingress = {
      gce = { staticIpName = try(google_compute_global_address.ingress[0].name, "") }
    }
    networkPolicy = {
      databaseCidrs = ["${google_compute_global_address.private_services.address}/${google_compute_global_address.private_services.prefix_length}"]
    }
  })
}
