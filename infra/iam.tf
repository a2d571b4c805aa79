# Who may do what. Always single members (google_project_iam_member), never a whole policy or binding: those would take
# away what others gave.

locals {
  # One Google service account for each component that signs in to Google. Sessions have none: their Kubernetes service
  # account is bound to nothing.
  components = {
    controller = {
      owns_database = true
      # The migration Job is the controller's own image and signs in as the owner of the tables, so that what it makes
      # belongs to the login that works with it.
      kubernetes_service_accounts = ["${var.release}-controller", "${var.release}-migration"]
    }
    gateway = {
      owns_database               = false
      kubernetes_service_accounts = ["${var.release}-gateway"]
    }
  }

  workload_identities = merge([
    for component, settings in local.components : {
      for account in settings.kubernetes_service_accounts : account => component
    }
  ]...)

  database_roles = ["roles/cloudsql.client", "roles/cloudsql.instanceUser"]

  database_grants = {
    for pair in setproduct(keys(local.components), local.database_roles) :
    "${pair[0]} ${pair[1]}" => { component = pair[0], role = pair[1] }
  }
}

resource "google_service_account" "component" {
  for_each = local.components

  account_id   = "${var.name}-${each.key}"
  display_name = "CLI Scale ${each.key}"

  depends_on = [google_project_service.main]
}

resource "google_service_account_iam_member" "workload_identity" {
  for_each = local.workload_identities

  service_account_id = google_service_account.component[each.value].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project_id}.svc.id.goog[${var.namespace}/${each.key}]"

  # The pool PROJECT.svc.id.goog comes into being with the project's first cluster.
  depends_on = [google_container_cluster.main]
}

# client: open a connection by the Auth Proxy. instanceUser: sign in by IAM.
resource "google_project_iam_member" "database" {
  for_each = local.database_grants

  project = var.project_id
  role    = each.value.role
  member  = google_service_account.component[each.value.component].member
}

# The nodes: logs, metrics, and reading images; not the Editor that Google's default account has.
resource "google_service_account" "nodes" {
  account_id   = "${var.name}-nodes"
  display_name = "CLI Scale nodes"

  depends_on = [google_project_service.main]
}

resource "google_project_iam_member" "nodes" {
  project = var.project_id
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes.member
}

resource "google_artifact_registry_repository_iam_member" "nodes" {
  location   = google_artifact_registry_repository.apps.location
  repository = google_artifact_registry_repository.apps.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes.member
}

# cloudbuild.yaml runs as this one.
resource "google_service_account" "build" {
  account_id   = "${var.name}-build"
  display_name = "CLI Scale builds and deploys"

  depends_on = [google_project_service.main]
}

resource "google_project_iam_member" "build" {
  for_each = toset([
    "roles/cloudbuild.builds.builder",
    # The chart has Roles and bindings, which container.developer may not make.
    "roles/container.admin",
  ])

  project = var.project_id
  role    = each.key
  member  = google_service_account.build.member
}

# Builds that `skaffold run` sends to Cloud Build run as the project's Compute Engine account, which newer organizations
# leave without any role.
data "google_compute_default_service_account" "main" {
  count = var.let_skaffold_build ? 1 : 0

  depends_on = [google_project_service.main]
}

resource "google_project_iam_member" "skaffold_build" {
  count = var.let_skaffold_build ? 1 : 0

  project = var.project_id
  role    = "roles/cloudbuild.builds.builder"
  member  = data.google_compute_default_service_account.main[0].member
}
