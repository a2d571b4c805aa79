variable "project_id" {
  description = "The Google project that everything is made in. It has to exist and to have billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the id of a project (6 to 30 small letters, digits and hyphens), not its name or number."
  }
}

variable "region" {
  description = "Region of the cluster, the database and the registry. Sessions start faster when images are near."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a region such as us-central1, not a zone such as us-central1-a."
  }
}

variable "name" {
  description = "Name of the cluster, the database and the network, and the beginning of the other names."
  type        = string
  default     = "cliscale"

  validation {
    # Service accounts are called NAME-controller and may have 30 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{1,17}[a-z0-9]$", var.name))
    error_message = "name has 3 to 19 small letters, digits and hyphens, and begins with a letter."
  }
}

variable "namespace" {
  description = "Kubernetes namespace that the chart is installed in. Service accounts of that namespace are trusted."
  type        = string
  default     = "ws-cli"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "namespace has to be a Kubernetes namespace: small letters, digits and hyphens, at most 63."
  }
}

variable "release" {
  description = "Name of the Helm release; the chart's service accounts are called RELEASE-controller and so on."
  type        = string
  default     = "cliscale"

  validation {
    condition     = can(regex("^([a-z0-9-]+-)?cliscale$", var.release))
    error_message = "release has to be cliscale or end in -cliscale: another name makes other service accounts."
  }
}

variable "node_cidr" {
  description = "Addresses of nodes."
  type        = string
  default     = "10.4.0.0/20"

  validation {
    condition     = can(cidrhost(var.node_cidr, 1))
    error_message = "node_cidr has to be a network such as 10.4.0.0/20."
  }
}

variable "pod_cidr" {
  description = "Addresses of pods. A node takes a /26 at least; a /14 has room for 4,096 nodes. Can't be changed later."
  type        = string
  default     = "10.8.0.0/14"

  validation {
    condition     = can(cidrhost(var.pod_cidr, 1))
    error_message = "pod_cidr has to be a network such as 10.8.0.0/14."
  }
}

variable "service_cidr" {
  description = "Addresses of Kubernetes Services. Can't be changed later."
  type        = string
  default     = "10.12.0.0/20"

  validation {
    condition     = can(cidrhost(var.service_cidr, 1))
    error_message = "service_cidr has to be a network such as 10.12.0.0/20."
  }
}

variable "authorized_networks" {
  description = "Networks that reach the control plane by its address. Empty: nobody; kubectl comes by the DNS endpoint."
  type = list(object({
    name = string
    cidr = string
  }))
  default = []

  validation {
    condition     = alltrue([for network in var.authorized_networks : can(cidrhost(network.cidr, 0))])
    error_message = "Each cidr of authorized_networks has to be a network such as 203.0.113.0/24."
  }

  validation {
    condition     = alltrue([for network in var.authorized_networks : try(tonumber(split("/", network.cidr)[1]), 0) >= 8])
    error_message = "authorized_networks may not let the whole internet in: a prefix of at least /8."
  }
}

variable "database_tier" {
  description = "Machine of the database. db-custom-1-3840 is enough for some hundred sessions at once."
  type        = string
  default     = "db-custom-1-3840"

  validation {
    # Shared-core machines have 25 to 50 connections; three controllers and three gateways want 60.
    condition     = can(regex("^db-custom-[0-9]+-[0-9]+$", var.database_tier))
    error_message = "database_tier has to be db-custom-CPUS-MEMORY: db-f1-micro and db-g1-small have too few connections."
  }
}

variable "database_high_availability" {
  description = "Whether a standby in another zone takes over when the database's zone fails. Doubles its price."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Whether cluster and database refuse to be destroyed. Set to false and apply before you destroy."
  type        = bool
  default     = true
}

variable "registry_id" {
  description = "Name of the image repository: REGION-docker.pkg.dev/PROJECT/<this>."
  type        = string
  default     = "apps"

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.registry_id))
    error_message = "registry_id has small letters, digits and hyphens."
  }
}

variable "registry_cleanup_dry_run" {
  description = "Whether the registry only logs what its rules would delete. Look at that once, then set it to false."
  type        = bool
  default     = true
}

variable "registry_keep_days" {
  description = "Tagged images that are older and not among the newest 20 are deleted; those tagged release-… never are."
  type        = number
  default     = 180

  validation {
    # Sessions last up to a few days, and name the image that they were started with.
    condition     = var.registry_keep_days >= 30
    error_message = "registry_keep_days has to be at least 30."
  }
}

variable "reserve_ingress_address" {
  description = "Whether to reserve a global address for the Ingress, so that it stays when the Ingress is made again."
  type        = bool
  default     = true
}

variable "let_skaffold_build" {
  description = "Whether the project's Compute Engine account may build images, as `skaffold run` wants it."
  type        = bool
  default     = true
}
