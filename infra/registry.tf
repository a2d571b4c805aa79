resource "google_artifact_registry_repository" "apps" {
  repository_id          = var.registry_id
  location               = var.region
  format                 = "DOCKER"
  description            = "Images of CLI Scale"
  cleanup_policy_dry_run = var.registry_cleanup_dry_run

  # Where a rule keeps and another deletes, keeping wins.
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  # Jobs of running sessions name an image by digest. cloudbuild.yaml tags what it deploys, so no rule takes it away.
  cleanup_policies {
    id     = "keep-what-was-deployed"
    action = "KEEP"

    condition {
      tag_state    = "TAGGED"
      tag_prefixes = ["release-"]
    }
  }

  cleanup_policies {
    id     = "delete-untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "${7 * 24 * 3600}s"
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      tag_state  = "TAGGED"
      older_than = "${var.registry_keep_days * 24 * 3600}s"
    }
  }

  depends_on = [google_project_service.main]
}
