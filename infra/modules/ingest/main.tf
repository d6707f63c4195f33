# From the load balancer's log to Pub/Sub and to the archive, and past the log
# bucket that would cost more than everything after it.

locals {
  # All requests to the pixel's load balancer.
  requests = join(" AND ", [
    "logName=\"projects/${var.project}/logs/requests\"",
    "resource.type=\"http_load_balancer\"",
    "resource.labels.url_map_name=\"${var.url_map_name}\"",
  ])

  # What the job would surely ignore stays out of Pub/Sub; the rules are those of
  # docs/semantics.md, "Three outcomes", and tests/requests.json holds both to them.
  # Whatever the job might count or reject goes through: only it compares paths after
  # percent-decoding, so every path with a % does.
  #
  # Of the query language: = ignores case and =~ does not; a comparison with an
  # absent field is false, "!=" and "!~" included, so every negation is a NOT.
  # Patterns are RE2, written without backslashes, which would need escaping twice.
  patterns = {
    url    = "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]"
    pixel  = "^[A-Za-z]+://([^/?#]*(${join("|", [for pixel in var.pixel_paths : replace(pixel, ".", "[.]")])})([?#]|$)|[^?#]*%)"
    method = "^(GET|HEAD)$"
    cdn    = "^Cloud-CDN-Google$"
  }
  status_below = 400

  impressions = join(" AND ", [
    local.requests,
    "NOT jsonPayload.parentInsertId:*",
    "NOT httpRequest.userAgent=~\"${local.patterns.cdn}\"",
    "NOT (httpRequest.requestUrl=~\"${local.patterns.url}\" AND NOT httpRequest.requestUrl=~\"${local.patterns.pixel}\")",
    "httpRequest.requestMethod=~\"${local.patterns.method}\"",
    "NOT httpRequest.status>=${local.status_below}",
  ])
}

resource "google_pubsub_topic" "requests" {
  project = var.project
  name    = "${var.name}-requests"
}

# What Dataflow's reader does not support is left out: exactly-once delivery,
# dead-letter and retry policies, ordering.
resource "google_pubsub_subscription" "requests" {
  project = var.project
  name    = "${var.name}-requests"
  topic   = google_pubsub_topic.requests.id

  ack_deadline_seconds         = 60
  message_retention_duration   = "604800s" # 7 days: how long the job may stand still
  retain_acked_messages        = false
  enable_exactly_once_delivery = false
  enable_message_ordering      = false

  expiration_policy {
    ttl = "" # never
  }
}

# For messages that an operator takes out of the way; its subscription keeps them.
resource "google_pubsub_topic" "dead" {
  project = var.project
  name    = "${var.name}-dead"
}

resource "google_pubsub_subscription" "dead" {
  project = var.project
  name    = "${var.name}-dead"
  topic   = google_pubsub_topic.dead.id

  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_logging_project_sink" "pubsub" {
  project                = var.project
  name                   = "${var.name}-pubsub"
  description            = "Pixel requests that may be impressions, for the job"
  destination            = "pubsub.googleapis.com/${google_pubsub_topic.requests.id}"
  filter                 = local.impressions
  unique_writer_identity = true
}

# Without it entries are dropped, and only a mail says so.
resource "google_pubsub_topic_iam_member" "sink" {
  project = var.project
  topic   = google_pubsub_topic.requests.name
  role    = "roles/pubsub.publisher"
  member  = google_logging_project_sink.pubsub.writer_identity
}

# The archive holds every request, the ignored ones too: what a changed rule or a
# mended tag needs is still there, and `pixelbeam --input=gs://...` reads it.
resource "google_storage_bucket" "archive" {
  project                     = var.project
  name                        = "${var.project}-${var.name}-archive"
  location                    = var.archive_location
  storage_class               = "COLDLINE" # written once, read when something went wrong
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = var.archive_days
    }
  }
}

resource "google_logging_project_sink" "archive" {
  project                = var.project
  name                   = "${var.name}-archive"
  description            = "All requests to the pixel's load balancer, for replay and audit"
  destination            = "storage.googleapis.com/${google_storage_bucket.archive.name}"
  filter                 = local.requests
  unique_writer_identity = true
}

resource "google_storage_bucket_iam_member" "archive" {
  bucket = google_storage_bucket.archive.name
  role   = "roles/storage.objectCreator"
  member = google_logging_project_sink.archive.writer_identity
}

# An exclusion of the project is one of its _Default sink. Sinks to elsewhere and
# log-based metrics still get every entry. Server errors stay where operators look.
resource "google_logging_project_exclusion" "default" {
  project     = var.project
  name        = "${var.name}-requests"
  description = "Pixel requests are in Pub/Sub and in the archive; the log bucket would charge for each"
  filter      = "${local.requests} AND NOT httpRequest.status>=500"

  depends_on = [google_pubsub_topic_iam_member.sink, google_storage_bucket_iam_member.archive]
}
