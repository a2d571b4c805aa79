variable "project_id" {
  description = "The Google project in which everything is created. It has to exist and to have billing enabled."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the id of a project (6 to 30 lower-case letters, digits and hyphens), not its name or number."
  }
}

variable "region" {
  description = "Region of the cluster, the database and the registry. Sessions start faster when their images are nearby."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as us-central1, not a zone such as us-central1-a."
  }
}

variable "name" {
  description = "Name of the cluster, the database and the network, and prefix of the other names."
  type        = string
  default     = "cliscale"

  validation {
    # Service accounts are called NAME-controller and may have 30 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{1,17}[a-z0-9]$", var.name))
    error_message = "name must have 3 to 19 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "namespace" {
  description = "Kubernetes namespace that the chart is installed in. Service accounts of that namespace are trusted."
  type        = string
  default     = "ws-cli"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace must be a Kubernetes namespace: lower-case letters, digits and hyphens, at most 63."
  }
}

variable "release" {
  description = "Name of the Helm release; the chart's service accounts are called RELEASE-controller and so on."
  type        = string
  default     = "cliscale"

  validation {
    condition     = can(regex("^([a-z0-9-]+-)?cliscale$", var.release))
    error_message = "release must be cliscale or end in -cliscale: another name would result in other service accounts."
  }
}

variable "node_cidr" {
  description = "Addresses of nodes."
  type        = string
  default     = "10.4.0.0/20"

  validation {
    condition     = can(cidrhost(var.node_cidr, 1))
    error_message = "node_cidr must be a network such as 10.4.0.0/20."
  }
}

variable "pod_cidr" {
  description = "Addresses of pods. A node takes at least a /26; a /14 has room for 4,096 nodes. Can't be changed later."
  type        = string
  default     = "10.8.0.0/14"

  validation {
    condition     = can(cidrhost(var.pod_cidr, 1))
    error_message = "pod_cidr must be a network such as 10.8.0.0/14."
  }
}

variable "service_cidr" {
  description = "Addresses of Kubernetes Services. Can't be changed later."
  type        = string
  default     = "10.12.0.0/20"

  validation {
    condition     = can(cidrhost(var.service_cidr, 1))
    error_message = "service_cidr must be a network such as 10.12.0.0/20."
  }
}

variable "authorized_networks" {
  description = "Networks that may reach the control plane by its address. Empty: none; kubectl uses the DNS endpoint."
  type = list(object({
    name = string
    cidr = string
  }))
  default = []

  validation {
    condition     = alltrue([for network in var.authorized_networks : can(cidrhost(network.cidr, 0))])
    error_message = "Each cidr of authorized_networks must be a network such as 203.0.113.0/24."
  }

  validation {
    condition     = alltrue([for network in var.authorized_networks : try(tonumber(split("/", network.cidr)[1]), 0) >= 8])
    error_message = "authorized_networks must not let in the whole internet: use a prefix of /8 or longer."
  }
}

variable "database_tier" {
  description = "Machine type of the database. db-custom-1-3840 is enough for a few hundred concurrent sessions."
  type        = string
  default     = "db-custom-1-3840"

  validation {
    # Shared-core machines have 25 to 50 connections; three controllers and three gateways want 60.
    condition     = can(regex("^db-custom-[0-9]+-[0-9]+$", var.database_tier))
    error_message = "database_tier must be db-custom-CPUS-MEMORY: db-f1-micro and db-g1-small have too few connections."
  }
}

variable "database_high_availability" {
  description = "Whether a standby in another zone takes over when the database's zone fails. Doubles the price."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Whether cluster and database refuse to be destroyed. Set it to false and apply before you destroy."
  type        = bool
  default     = true
}

variable "registry_id" {
  description = "Name of the image repository: REGION-docker.pkg.dev/PROJECT/<this>."
  type        = string
  default     = "apps"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.registry_id))
    error_message = "registry_id must have lower-case letters, digits and hyphens."
  }
}

variable "registry_cleanup_dry_run" {
  description = "Whether the registry only logs what its rules would delete. Check that once, then set this to false."
  type        = bool
  default     = true
}

variable "registry_keep_days" {
  description = "Days after which tagged images that are not among the newest 20 are deleted; those tagged release-… never are."
  type        = number
  default     = 180

  validation {
    # Sessions last up to a few days, and name the image that they were started with.
    condition     = var.registry_keep_days >= 30
    error_message = "registry_keep_days must be at least 30."
  }
}

variable "reserve_ingress_address" {
  description = "Whether to reserve a global address for the Ingress, so that it stays the same when the Ingress is recreated."
  type        = bool
  default     = true
}

variable "let_skaffold_build" {
  description = "Whether the project's Compute Engine account may build images, as `skaffold run` requires."
  type        = bool
  default     = true
}
