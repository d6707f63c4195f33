output "topic" {
  description = "Topic of pixel requests, projects/P/topics/T."
  value       = google_pubsub_topic.requests.id
}

output "topic_name" {
  description = "Short name of the topic."
  value       = google_pubsub_topic.requests.name
}

output "subscription" {
  description = "The job's subscription, projects/P/subscriptions/S."
  value       = google_pubsub_subscription.requests.id
}

output "subscription_name" {
  description = "Short name of the job's subscription."
  value       = google_pubsub_subscription.requests.name
}

output "dead_topic" {
  description = "Short name of the dead topic."
  value       = google_pubsub_topic.dead.name
}

output "archive_bucket" {
  description = "Bucket of the archive."
  value       = google_storage_bucket.archive.name
}

output "sinks" {
  description = "Names of the log sinks."
  value       = [google_logging_project_sink.pubsub.name, google_logging_project_sink.archive.name]
}

output "requests_filter" {
  description = "Filter of all requests to the pixel's load balancer."
  value       = local.requests
}

output "impressions_filter" {
  description = "Filter of what goes to Pub/Sub."
  value       = local.impressions
}

output "patterns" {
  description = "Patterns that the filter is made of: url, pixel, method, cdn (RE2)."
  value       = local.patterns
}

output "status_below" {
  description = "Entries with this status or a higher one stay out of Pub/Sub."
  value       = local.status_below
}
