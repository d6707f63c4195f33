# The filters say what the job's rules say: tests/requests.json holds requests and
# what the job makes of each, which infra_test.go holds the job to.

mock_provider "google" {
  mock_resource "google_logging_project_sink" {
    defaults = {
      writer_identity = "serviceAccount:sink@example.iam.gserviceaccount.com"
    }
  }
}

variables {
  project          = "example-project"
  name             = "pixelbeam"
  url_map_name     = "pixelbeam"
  pixel_paths      = ["/pixel.gif", "/pixel.png", "/p.gif"]
  archive_location = "europe-west1"
  archive_days     = 400
}

run "filters" {
  module {
    source = "./modules/ingest"
  }

  # The filter of Pub/Sub, as Terraform evaluates its parts; both know RE2.
  assert {
    condition = alltrue([
      for c in jsondecode(file("tests/requests.json")) : c.sent == (
        !can(c.entry.jsonPayload.parentInsertId) &&
        length(regexall(output.patterns.cdn, try(c.entry.httpRequest.userAgent, ""))) == 0 &&
        !(
          length(regexall(output.patterns.url, try(c.entry.httpRequest.requestUrl, ""))) > 0 &&
          length(regexall(output.patterns.pixel, try(c.entry.httpRequest.requestUrl, ""))) == 0
        ) &&
        length(regexall(output.patterns.method, try(c.entry.httpRequest.requestMethod, ""))) > 0 &&
        !(try(c.entry.httpRequest.status, 0) >= output.status_below)
      )
    ])
    error_message = "The filter and the parser's rules differ for: ${join("; ", [
      for c in jsondecode(file("tests/requests.json")) : c.why if c.sent != (
        !can(c.entry.jsonPayload.parentInsertId) &&
        length(regexall(output.patterns.cdn, try(c.entry.httpRequest.userAgent, ""))) == 0 &&
        !(
          length(regexall(output.patterns.url, try(c.entry.httpRequest.requestUrl, ""))) > 0 &&
          length(regexall(output.patterns.pixel, try(c.entry.httpRequest.requestUrl, ""))) == 0
        ) &&
        length(regexall(output.patterns.method, try(c.entry.httpRequest.requestMethod, ""))) > 0 &&
        !(try(c.entry.httpRequest.status, 0) >= output.status_below)
      )
    ])}"
  }
  assert {
    condition = google_logging_project_sink.pubsub.filter == join(" AND ", [
      "logName=\"projects/example-project/logs/requests\"",
      "resource.type=\"http_load_balancer\"",
      "resource.labels.url_map_name=\"pixelbeam\"",
      "NOT jsonPayload.parentInsertId:*",
      "NOT httpRequest.userAgent=~\"${output.patterns.cdn}\"",
      "NOT (httpRequest.requestUrl=~\"${output.patterns.url}\" AND NOT httpRequest.requestUrl=~\"${output.patterns.pixel}\")",
      "httpRequest.requestMethod=~\"${output.patterns.method}\"",
      "NOT httpRequest.status>=400",
    ])
    error_message = "The filter is not made of the patterns that are tested: ${google_logging_project_sink.pubsub.filter}"
  }
  assert {
    condition     = length(regexall("!=|!~|\\\\", google_logging_project_sink.pubsub.filter)) == 0
    error_message = "!= and !~ are false for absent fields, and backslashes need escaping twice: use NOT and [.]."
  }
}

run "archive_and_exclusion" {
  module {
    source = "./modules/ingest"
  }

  assert {
    condition     = google_logging_project_sink.archive.filter == "logName=\"projects/example-project/logs/requests\" AND resource.type=\"http_load_balancer\" AND resource.labels.url_map_name=\"pixelbeam\""
    error_message = "The archive has to hold every request, the ignored ones too."
  }
  assert {
    condition     = google_logging_project_exclusion.default.filter == "${google_logging_project_sink.archive.filter} AND NOT httpRequest.status>=500" && google_logging_project_exclusion.default.disabled != true
    error_message = "_Default has to exclude all pixel requests but server errors."
  }
  assert {
    condition = (
      google_logging_project_sink.pubsub.destination == "pubsub.googleapis.com/${google_pubsub_topic.requests.id}" &&
      google_logging_project_sink.archive.destination == "storage.googleapis.com/example-project-pixelbeam-archive" &&
      length(google_logging_project_sink.pubsub.exclusions) == 0 &&
      length(google_logging_project_sink.archive.exclusions) == 0
    )
    error_message = "A sink goes elsewhere or leaves something out."
  }
  assert {
    condition = (
      google_pubsub_topic_iam_member.sink.role == "roles/pubsub.publisher" &&
      google_pubsub_topic_iam_member.sink.member == google_logging_project_sink.pubsub.writer_identity &&
      google_storage_bucket_iam_member.archive.role == "roles/storage.objectCreator" &&
      google_storage_bucket_iam_member.archive.member == google_logging_project_sink.archive.writer_identity
    )
    error_message = "The sinks' writers need to publish and to create, and nothing else."
  }
  assert {
    condition = (
      google_storage_bucket.archive.public_access_prevention == "enforced" &&
      !google_storage_bucket.archive.force_destroy &&
      google_storage_bucket.archive.storage_class == "COLDLINE" &&
      { for rule in google_storage_bucket.archive.lifecycle_rule : one(rule.action).type => one(rule.condition).age } == { Delete = 400 }
    )
    error_message = "The archive is open, easily destroyed, or kept otherwise than asked for."
  }
}

run "subscription_suits_dataflow" {
  module {
    source = "./modules/ingest"
  }

  assert {
    condition = (
      google_pubsub_subscription.requests.ack_deadline_seconds == 60 &&
      google_pubsub_subscription.requests.message_retention_duration == "604800s" &&
      google_pubsub_subscription.requests.expiration_policy[0].ttl == "" &&
      google_pubsub_subscription.requests.topic == google_pubsub_topic.requests.id
    )
    error_message = "The subscription has to keep messages for 7 days and itself for ever, with deadlines of 60 s."
  }
  assert {
    condition = (
      google_pubsub_subscription.requests.enable_exactly_once_delivery == false &&
      google_pubsub_subscription.requests.enable_message_ordering == false &&
      length(google_pubsub_subscription.requests.dead_letter_policy) == 0 &&
      length(google_pubsub_subscription.requests.retry_policy) == 0 &&
      google_pubsub_subscription.requests.filter == null
    )
    error_message = "Dataflow does not support exactly-once delivery, dead-letter and retry policies, and a filter would lose requests."
  }
  assert {
    condition     = google_pubsub_subscription.dead.topic == google_pubsub_topic.dead.id && google_pubsub_subscription.dead.expiration_policy[0].ttl == ""
    error_message = "The dead topic needs a subscription, or it keeps nothing."
  }
}
