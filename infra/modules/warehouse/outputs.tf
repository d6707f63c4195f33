output "dataset" {
  description = "Dataset as PROJECT.DATASET."
  value       = "${var.project}.${google_bigquery_dataset.this.dataset_id}"
}

output "dataset_id" {
  description = "Dataset ID."
  value       = google_bigquery_dataset.this.dataset_id
}

output "job_tables" {
  description = "Tables that the job writes: those with a row message."
  value = [
    for name, table in local.tables : google_bigquery_table.table[name].table_id
    if try(table.message, "") != ""
  ]
}

output "views" {
  description = "Names of all views."
  value = sort(concat(
    [for view in google_bigquery_table.view : view.table_id],
    [for view in google_bigquery_table.view1 : view.table_id],
    [for view in google_bigquery_table.view2 : view.table_id],
  ))
}

output "scheduled" {
  description = "Scheduled statements and when they run (UTC)."
  value       = { for name, s in google_bigquery_data_transfer_config.rollup : name => s.schedule }
}
