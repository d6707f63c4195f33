# The job: a Flex Template whose image is built from this repository, run by an
# account of its own on private workers.

locals {
  spec = var.template_image == null ? null : jsonencode({
    image    = var.template_image
    sdkInfo  = { language = "GO" }
    metadata = jsondecode(file("${path.module}/metadata.json"))
  })

  # Names are those of the job's flags (pixelbeam --help).
  parameters = merge(var.job_parameters, {
    subscription      = var.subscription
    pixel_paths       = join(",", var.pixel_paths)
    bigquery_dataset  = var.dataset
    bigtable_instance = var.bigtable_instance
    bigtable_table    = var.bigtable_table
    }, var.advertiser_groups == null ? {} : {
    table_suffix_by   = "advertiser"
    advertiser_groups = "gs://${google_storage_bucket.staging.name}/${google_storage_bucket_object.groups[0].name}"
  })

  subnetwork = var.subnetwork == null ? google_compute_subnetwork.workers[0].self_link : var.subnetwork
}

# Staged programs must outlive the job that runs them, as new workers fetch them; so
# only what is temporary is deleted by age.
resource "google_storage_bucket" "staging" {
  project                     = var.project
  name                        = "${var.project}-${var.name}-dataflow"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 14
      matches_prefix = ["temp/"]
    }
  }
}

resource "google_artifact_registry_repository" "images" {
  project       = var.project
  location      = var.region
  repository_id = var.name
  format        = "DOCKER"
  description   = "Images of the Flex Template"

  cleanup_policies {
    id     = "keep-latest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s" # 90 days
    }
  }
}

# The spec's name follows its content, so that a new image is a new path and
# Terraform sees that the job has to be updated.
resource "google_storage_bucket_object" "spec" {
  count = var.template_image == null ? 0 : 1

  bucket       = google_storage_bucket.staging.name
  name         = "templates/${var.name}-${substr(sha256(local.spec), 0, 12)}.json"
  content      = local.spec
  content_type = "application/json"

  lifecycle {
    create_before_destroy = true
  }
}

# Named by its content too: other groups are another path, and update the job.
resource "google_storage_bucket_object" "groups" {
  count = var.advertiser_groups == null ? 0 : 1

  bucket       = google_storage_bucket.staging.name
  name         = "groups/${var.name}-${substr(sha256(var.advertiser_groups), 0, 12)}.csv"
  content      = var.advertiser_groups
  content_type = "text/csv"

  lifecycle {
    create_before_destroy = true
  }
}

# A change updates the running job in place and a destroyed one is drained: what it
# has read is written, and what it has not read waits in Pub/Sub.
resource "google_dataflow_flex_template_job" "this" {
  provider = google-beta
  count    = var.template_image == null ? 0 : 1

  project                 = var.project
  region                  = var.region
  name                    = var.name
  container_spec_gcs_path = "gs://${google_storage_bucket.staging.name}/${google_storage_bucket_object.spec[0].name}"
  parameters              = local.parameters
  labels                  = var.labels

  on_delete                    = "drain"
  skip_wait_on_job_termination = false

  service_account_email   = google_service_account.worker.email
  staging_location        = "gs://${google_storage_bucket.staging.name}/staging"
  temp_location           = "gs://${google_storage_bucket.staging.name}/temp"
  subnetwork              = local.subnetwork
  ip_configuration        = "WORKER_IP_PRIVATE"
  machine_type            = var.machine_type
  num_workers             = var.num_workers
  max_workers             = var.max_workers
  autoscaling_algorithm   = "THROUGHPUT_BASED"
  enable_streaming_engine = true

  # A job that starts before its rights do runs, looks healthy, and reads nothing.
  depends_on = [
    google_project_iam_member.worker,
    google_project_iam_member.tracking,
    google_service_account_iam_member.launcher,
    google_storage_bucket_iam_member.staging,
    google_pubsub_subscription_iam_member.worker,
    google_pubsub_topic_iam_member.requests,
    google_pubsub_topic_iam_member.dead,
    google_bigquery_table_iam_member.worker,
    google_bigquery_dataset_access.groups,
    google_bigtable_table_iam_member.worker,
    google_artifact_registry_repository_iam_member.worker,
    google_compute_subnetwork.workers,
    google_compute_firewall.workers,
  ]
}
