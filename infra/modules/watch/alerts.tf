# Each alert says what it means for the numbers and what to do first.

locals {
  # Alerts on one metric and a threshold.
  thresholds = {
    backlog = {
      title     = "Oldest unacknowledged request is old"
      severity  = "CRITICAL"
      filter    = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${var.subscription_name}\""
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_MAX"
      above     = var.limits.oldest_unacked_seconds
      duration  = "300s"
      documents = "The job reads slower than requests come in, or not at all. Pub/Sub keeps requests for 7 days; after that they are only in the archive. Look at the job's state and worker logs, then at its worker limit and quotas."
    }
    system_lag = {
      title     = "The job lags"
      severity  = "WARNING"
      filter    = "metric.type=\"dataflow.googleapis.com/job/system_lag\" AND resource.type=\"dataflow_job\" AND resource.labels.job_name=\"${var.job_name}\""
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_MAX"
      above     = var.limits.system_lag_seconds
      duration  = "300s"
      documents = "Requests wait inside the job. Rows and counts are late, not lost. Look for a step with a growing backlog, and for errors of BigQuery or Bigtable."
    }
    job_failed = {
      title     = "The job failed"
      severity  = "CRITICAL"
      filter    = "metric.type=\"dataflow.googleapis.com/job/is_failed\" AND resource.type=\"dataflow_job\" AND resource.labels.job_name=\"${var.job_name}\""
      aligner   = "ALIGN_MAX"
      reducer   = "REDUCE_MAX"
      above     = 0
      duration  = "0s"
      documents = "Nothing reads the subscription. Requests wait in Pub/Sub for 7 days. Run terraform apply to launch the job again."
    }
    export_errors = {
      title     = "Log sinks lose requests"
      severity  = "CRITICAL"
      filter    = "metric.type=\"logging.googleapis.com/exports/error_count\" AND resource.type=\"logging_sink\" AND resource.labels.name=one_of(${join(", ", [for name in var.sinks : "\"${name}\""])})"
      aligner   = "ALIGN_DELTA"
      reducer   = "REDUCE_SUM"
      above     = 0
      duration  = "0s"
      documents = "Cloud Logging cannot write to the topic or to the archive, and does not try again for long. Check that the writer identity of the sink still has roles/pubsub.publisher or roles/storage.objectCreator: terraform plan shows it."
    }
    worker_errors = {
      title     = "The job's workers report errors"
      severity  = "WARNING"
      filter    = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.worker_errors.name}\" AND resource.type=\"dataflow_job\""
      aligner   = "ALIGN_DELTA"
      reducer   = "REDUCE_SUM"
      above     = var.limits.worker_errors
      duration  = "0s"
      documents = "A service refuses what the job sends, and bundles are tried again. Nothing is lost while they are; the log of the step names the service."
    }
  }

  # Alerts on the job's own counters.
  queries = {
    rejects = {
      title    = "Many entries are rejected"
      severity = "WARNING"
      query    = <<-EOT
        sum(delta(${local.counter}{${local.job},${local.rejected}}[10m]))
          / sum(delta(${local.counter}{${local.job},metric_name="entries_read"}[10m]))
          > ${var.limits.rejected_share}
      EOT
      duration = "300s"
      document = "Entries could not become rows. They are in rejected_entries, byte for byte: SELECT reason, detail, COUNT(*) FROM rejected_entries WHERE receive_time > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 HOUR) GROUP BY 1, 2 ORDER BY 3 DESC."
    }
    refused_rows = {
      title    = "A sink refuses rows"
      severity = "CRITICAL"
      query    = <<-EOT
        sum(delta(${local.counter}{${local.job},metric_name=~"bigquery_rows_refused|bigtable_rows_refused|rejected_entries_unwritable"}[10m])) > 0
      EOT
      duration = "0s"
      document = "BigQuery or Bigtable will never take these rows, mostly because a table lacks a column. They are in rejected_entries with the stage bigquery or bigtable, unless rejected_entries_unwritable says that even that failed. Run terraform plan: it shows tables that differ from schemas/bigquery."
    }
    imbalance = {
      title    = "The books do not balance"
      severity = "CRITICAL"
      query    = <<-EOT
        abs(
          sum by (job_id) (${local.counter}{${local.job},metric_name="entries_read"})
          - sum by (job_id) (${local.counter}{${local.job},metric_name="impressions"})
          - (
            sum by (job_id) (${local.counter}{${local.job},${local.outcomes}})
            or sum by (job_id) (${local.counter}{${local.job},metric_name="entries_read"}) * 0
          )
        ) > ${var.limits.imbalance}
      EOT
      duration = "900s"
      document = "Entries read = impressions + rejected + ignored has not held for 15 minutes: the job lost count of entries. This is a fault of the program. Keep the job's counters and logs, and compare impressions with the archive for these hours."
    }
    lost = {
      title    = "Logged requests did not reach the job"
      severity = "CRITICAL"
      query    = <<-EOT
        1 - sum(delta(${local.counter}{${local.job},metric_name="entries_read"}[1h]))
          / sum(increase(${local.logged}{monitored_resource="l7_lb_rule"}[1h] offset 5m))
          > ${var.limits.lost_share}
      EOT
      duration = "3600s"
      document = "For an hour the job read fewer entries than Cloud Logging exported. If there is a backlog, they are late and the backlog alert says so too. If there is none, look for sink errors, and for another reader of the subscription. The archive holds every request: replay the hours with pixelbeam --input=gs://ARCHIVE/requests/YYYY/MM/DD/."
    }
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each = local.thresholds

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for c in google_monitoring_notification_channel.email : c.id]

  conditions {
    display_name = each.value.title

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.above
      duration        = each.value.duration

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = each.value.reducer
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.documents
  }
}

resource "google_monitoring_alert_policy" "query" {
  for_each = local.queries

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = [for c in google_monitoring_notification_channel.email : c.id]

  conditions {
    display_name = each.value.title

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.duration
      evaluation_interval = "60s"
      # The metrics come into being with the first request.
      disable_metric_validation = true
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.document
  }
}

# No requests at all: a tag that was taken off, a certificate, DNS, or the log.
resource "google_monitoring_alert_policy" "silence" {
  project               = var.project
  display_name          = "${var.name}: No pixel requests"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = [for c in google_monitoring_notification_channel.email : c.id]

  conditions {
    display_name = "No pixel requests"

    condition_absent {
      filter   = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.impressions.name}\" AND resource.type=\"l7_lb_rule\""
      duration = "${var.limits.silence_seconds}s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  # A metric that has been seen may go on with zeros in place of being absent.
  conditions {
    display_name = "Zero pixel requests"

    condition_threshold {
      filter                  = "metric.type=\"logging.googleapis.com/user/${google_logging_metric.impressions.name}\" AND resource.type=\"l7_lb_rule\""
      comparison              = "COMPARISON_LT"
      threshold_value         = 1
      duration                = "${var.limits.silence_seconds}s"
      evaluation_missing_data = "EVALUATION_MISSING_DATA_ACTIVE"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "No request was logged. Fetch the pixel: curl -si https://DOMAIN/pixel.gif. If it answers, look for the entry in the archive bucket: then the log or the sink is at fault, else the tag, DNS or the certificate."
  }
}
