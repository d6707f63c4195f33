# Scheduled statements (weekly rollups and the like) run as an account of their own
# that may run jobs, and change this dataset only.

resource "google_service_account" "rollup" {
  count = length(local.scheduled) > 0 ? 1 : 0

  project      = var.project
  account_id   = "${var.name}-rollup"
  display_name = "Pixelbeam scheduled statements"
}

resource "google_project_iam_member" "rollup" {
  count = length(local.scheduled) > 0 ? 1 : 0

  project = var.project
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.rollup[0].member
}

resource "google_bigquery_dataset_access" "rollup" {
  count = length(local.scheduled) > 0 ? 1 : 0

  project       = var.project
  dataset_id    = google_bigquery_dataset.this.dataset_id
  role          = "WRITER" # the API's name for roles/bigquery.dataEditor on a dataset
  user_by_email = google_service_account.rollup[0].email
}

resource "google_bigquery_data_transfer_config" "rollup" {
  for_each = local.scheduled

  project              = var.project
  location             = var.location
  display_name         = "${var.name} ${each.key}"
  data_source_id       = "scheduled_query"
  schedule             = each.value.schedule
  service_account_name = google_service_account.rollup[0].email
  params               = { query = each.value.query }

  depends_on = [
    google_project_iam_member.rollup,
    google_bigquery_dataset_access.rollup,
    google_bigquery_table.view2,
  ]
}
