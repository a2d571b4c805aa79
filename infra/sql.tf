resource "google_sql_database_instance" "main" {
  name                = var.name
  region              = var.region
  database_version    = "POSTGRES_16"
  deletion_protection = var.deletion_protection

  settings {
    # Also against the console and gcloud; the one above is Terraform's own.
    deletion_protection_enabled = var.deletion_protection

    edition           = "ENTERPRISE"
    tier              = var.database_tier
    availability_type = var.database_high_availability ? "REGIONAL" : "ZONAL"
    disk_type         = "PD_SSD"
    disk_size         = 20
    disk_autoresize   = true

    # Only the Auth Proxy gets in: it brings mutual TLS and an IAM token, whatever the network says.
    connector_enforcement = "REQUIRED"

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"
    }

    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "03:00"
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = 14
      }
    }

    maintenance_window {
      day          = 7
      hour         = 3
      update_track = "stable"
    }

    insights_config {
      query_insights_enabled = true
      record_client_address  = false
    }
  }

  # Its private address comes out of the peering, which must be there first and go last.
  depends_on = [google_service_networking_connection.private_services]
}

resource "google_sql_database" "main" {
  name     = var.name
  instance = google_sql_database_instance.main.name
  # Dropping it is the instance's business; by itself it fails while anybody is connected.
  deletion_policy = "ABANDON"
}

# One login for each service that uses the database: an IAM user, without a password. PostgreSQL knows a service account
# by its e-mail without the ending.
resource "google_sql_user" "component" {
  for_each = local.components

  name     = trimsuffix(google_service_account.component[each.key].email, ".gserviceaccount.com")
  instance = google_sql_database_instance.main.name
  type     = "CLOUD_IAM_SERVICE_ACCOUNT"
  # The controller's login owns the database's tables and makes the role that the gateway's login is a member of;
  # migrations sign in as it. The gateway's starts with nothing: what it may do is granted by the migrations.
  database_roles = each.value.owns_database ? ["cloudsqlsuperuser"] : null
  # A login that owns tables can't be dropped.
  deletion_policy = "ABANDON"

  depends_on = [google_sql_database.main]
}
