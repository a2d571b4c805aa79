terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source = "hashicorp/google"
      # database_roles of google_sql_user is not in the first releases of 7.
      version = "~> 7.21"
    }
  }

  # The bucket is given at init (docs/deploy.md), so that this folder names no project:
  #   terraform init -backend-config=bucket=$PROJECT_ID-terraform
  # Nothing here is a password: services sign in to the database by IAM.
  backend "gcs" {
    prefix = "cliscale"
  }
}
