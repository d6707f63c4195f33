# All that the worker account may do. The launcher of a Flex Template runs as it too.

resource "google_service_account" "worker" {
  project      = var.project
  account_id   = "${var.name}-worker"
  display_name = "Pixelbeam Dataflow workers"
}

resource "google_project_iam_member" "worker" {
  for_each = toset([
    "roles/dataflow.worker",
    "roles/dataflow.admin", # the launcher makes the job
  ])

  project = var.project
  role    = each.key
  member  = google_service_account.worker.member
}

# The launcher makes a job that runs as this account; no other account.
resource "google_service_account_iam_member" "launcher" {
  service_account_id = google_service_account.worker.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.worker.member
}

resource "google_storage_bucket_iam_member" "staging" {
  bucket = google_storage_bucket.staging.name
  role   = "roles/storage.objectAdmin"
  member = google_service_account.worker.member
}

resource "google_pubsub_subscription_iam_member" "worker" {
  for_each = toset([
    "roles/pubsub.subscriber",
    "roles/pubsub.viewer", # Dataflow reads the subscription's configuration first
  ])

  project      = var.project
  subscription = var.subscription_name
  role         = each.key
  member       = google_service_account.worker.member
}

# Event times are in a message attribute, so Dataflow keeps a second subscription of
# the topic, SUBSCRIPTION__df_internal and 16 digits, for the watermark. No
# predefined role below pubsub.editor of the project lets it; this one lets it make
# and remove subscriptions, and the next attach them to this topic only.
# https://cloud.google.com/dataflow/docs/concepts/streaming-with-cloud-pubsub
resource "google_project_iam_custom_role" "tracking" {
  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_watermark_tracking"
  title       = "Pixelbeam watermark tracking"
  description = "Lets Dataflow keep the subscription that it derives a watermark from"

  permissions = [
    "pubsub.subscriptions.create",
    "pubsub.subscriptions.delete",
    "pubsub.subscriptions.get",
    "pubsub.subscriptions.update",
  ]
}

resource "google_project_iam_member" "tracking" {
  project = var.project
  role    = google_project_iam_custom_role.tracking.name
  member  = google_service_account.worker.member
}

resource "google_pubsub_topic_iam_member" "requests" {
  project = var.project
  topic   = var.topic_name
  role    = "roles/pubsub.subscriber" # holds pubsub.topics.attachSubscription
  member  = google_service_account.worker.member
}

resource "google_pubsub_topic_iam_member" "dead" {
  project = var.project
  topic   = var.dead_topic_name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.worker.member
}

resource "google_bigquery_table_iam_member" "worker" {
  for_each = toset(var.tables)

  project    = var.project
  dataset_id = var.dataset_id
  table_id   = each.key
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.worker.member
}

# The tables of groups are the job's to make, write and widen, and not to read or
# delete. A right to make tables is one on the dataset, which no predefined role gives
# without more. By google_bigquery_dataset_access, as in the warehouse module.
resource "google_project_iam_custom_role" "groups" {
  count = var.advertiser_groups == null ? 0 : 1

  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_group_tables"
  title       = "Pixelbeam tables of groups"
  description = "Lets the job make tables of groups of advertisers and write to them"

  permissions = [
    "bigquery.tables.create",
    "bigquery.tables.get",
    "bigquery.tables.list",
    "bigquery.tables.update",
    "bigquery.tables.updateData",
  ]
}

resource "google_bigquery_dataset_access" "groups" {
  count = var.advertiser_groups == null ? 0 : 1

  project       = var.project
  dataset_id    = var.dataset_id
  role          = google_project_iam_custom_role.groups[0].name
  user_by_email = google_service_account.worker.email
}

resource "google_bigtable_table_iam_member" "worker" {
  project       = var.project
  instance_name = var.bigtable_instance
  table         = var.bigtable_table
  role          = "roles/bigtable.user"
  member        = google_service_account.worker.member
}

resource "google_artifact_registry_repository_iam_member" "worker" {
  project    = var.project
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.worker.member
}
