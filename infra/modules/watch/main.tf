# Metrics made from logs. Cloud Logging makes them from every entry, excluded ones
# too, and does not sample, as the load balancer's own metrics do: what they count is
# what the job has to account for.

locals {
  # The job's Beam counters, as Cloud Monitoring exports them: gauges of totals, one
  # series per job and step. PromQL, since thresholds cannot take differences of them.
  counter = "dataflow_googleapis_com:job_user_counter"
  # rejected_entries_* are counters of the sink for such rows, not reasons.
  outcomes = "metric_name=~\"(rejected|ignored)_.+\",metric_name!~\"rejected_entries_.+\""
  rejected = "metric_name=~\"rejected_.+\",metric_name!~\"rejected_entries_.+\""
  job      = "job_name=\"${var.job_name}\""

  logged = "logging_googleapis_com:user_${google_logging_metric.impressions.name}"
}

resource "google_logging_metric" "requests" {
  project     = var.project
  name        = "${replace(var.name, "-", "_")}_requests"
  description = "Requests to the pixel's load balancer, by status and cache hit"
  filter      = var.requests_filter

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = "Pixel requests"

    labels {
      key         = "status"
      value_type  = "STRING"
      description = "HTTP status; empty if the client was gone before there was one"
    }
    labels {
      key         = "cache_hit"
      value_type  = "STRING"
      description = "true if the CDN answered, else empty"
    }
  }

  label_extractors = {
    status    = "EXTRACT(httpRequest.status)"
    cache_hit = "EXTRACT(httpRequest.cacheHit)"
  }
}

resource "google_logging_metric" "impressions" {
  project     = var.project
  name        = "${replace(var.name, "-", "_")}_impressions"
  description = "Entries that the log sink sends to the job"
  filter      = var.impressions_filter

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = "Pixel requests that may be impressions"
  }
}

resource "google_logging_metric" "worker_errors" {
  project     = var.project
  name        = "${replace(var.name, "-", "_")}_worker_errors"
  description = "Errors in the job's logs: services that fail, bundles that are tried again"
  filter      = "resource.type=\"dataflow_step\" AND resource.labels.job_name=\"${var.job_name}\" AND severity>=ERROR"

  metric_descriptor {
    metric_kind  = "DELTA"
    value_type   = "INT64"
    unit         = "1"
    display_name = "Pixelbeam worker errors"
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each = toset(var.emails)

  project      = var.project
  display_name = "${var.name} ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
}

resource "google_monitoring_dashboard" "this" {
  project = var.project
  dashboard_json = templatefile("${path.module}/dashboard.json.tftpl", {
    title              = var.name
    job                = var.job_name
    counter            = local.counter
    outcomes           = local.outcomes
    requests_metric    = google_logging_metric.requests.name
    impressions_metric = google_logging_metric.impressions.name
    subscription       = var.subscription_name
    bigtable_instance  = var.bigtable_instance
  })
}

data "google_project" "this" {
  project_id = var.project
}

resource "google_billing_budget" "month" {
  count = var.billing_account == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = var.name

  budget_filter {
    projects        = ["projects/${data.google_project.this.number}"]
    calendar_period = "MONTH"
  }

  amount {
    specified_amount {
      currency_code = var.budget.currency
      units         = tostring(var.budget.amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1]
    content {
      threshold_percent = threshold_rules.value
    }
  }
  threshold_rules {
    threshold_percent = 1
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = [for c in google_monitoring_notification_channel.email : c.id]
  }
}
