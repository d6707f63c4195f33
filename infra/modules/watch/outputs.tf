output "dashboard" {
  description = "ID of the dashboard."
  value       = google_monitoring_dashboard.this.id
}

output "metrics" {
  description = "Names of the log-based metrics."
  value = {
    requests      = google_logging_metric.requests.name
    impressions   = google_logging_metric.impressions.name
    worker_errors = google_logging_metric.worker_errors.name
  }
}
