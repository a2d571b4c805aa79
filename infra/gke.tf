# Autopilot: Google runs the nodes, bills by pod, and has Dataplane V2 (which enforces NetworkPolicies), Workload
# Identity and Managed Prometheus on.
resource "google_container_cluster" "main" {
  name                = var.name
  location            = var.region
  enable_autopilot    = true
  deletion_protection = var.deletion_protection

  network    = google_compute_network.main.id
  subnetwork = google_compute_subnetwork.nodes.id

  ip_allocation_policy {
    cluster_secondary_range_name  = "pods"
    services_secondary_range_name = "services"
  }

  release_channel {
    channel = "REGULAR"
  }

  private_cluster_config {
    enable_private_nodes = true
    # The control plane has no public address, unless somebody's network is let in below.
    enable_private_endpoint = length(var.authorized_networks) == 0
  }

  control_plane_endpoints_config {
    # kubectl, Skaffold and Cloud Build come by the DNS endpoint: Google's front end asks IAM (container.clusters.connect)
    # before it lets a request through, so neither a VPN nor a private pool is needed.
    dns_endpoint_config {
      allow_external_traffic = true
    }

    ip_endpoints_config {
      enabled = true
    }
  }

  master_authorized_networks_config {
    gcp_public_cidrs_access_enabled = false

    dynamic "cidr_blocks" {
      for_each = var.authorized_networks

      content {
        display_name = cidr_blocks.value.name
        cidr_block   = cidr_blocks.value.cidr
      }
    }
  }

  cluster_autoscaling {
    auto_provisioning_defaults {
      service_account = google_service_account.nodes.email
      oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    }
  }

  # A drained node ends the sessions on it (they say so: `evicted`); most people would rather see that at night.
  maintenance_policy {
    recurring_window {
      start_time = "2026-01-01T02:00:00Z"
      end_time   = "2026-01-01T06:00:00Z"
      recurrence = "FREQ=DAILY"
    }
  }

  depends_on = [
    google_project_service.main,
    google_project_iam_member.nodes,
    google_artifact_registry_repository_iam_member.nodes,
  ]
}
