# What is counted, what wakes somebody, and what is shown.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }
}

variables {
  project            = "example-project"
  name               = "pixelbeam"
  requests_filter    = "logName=\"requests\""
  impressions_filter = "logName=\"requests\" AND NOT httpRequest.status>=400"
  sinks              = ["pixelbeam-pubsub", "pixelbeam-archive"]
  subscription_name  = "pixelbeam-requests"
  job_name           = "pixelbeam"
  bigtable_instance  = "pixelbeam"
  emails             = ["oncall@example.com"]
  billing_account    = "012345-6789AB-CDEF01"
  budget             = { amount = 500, currency = "EUR" }
  limits = {
    oldest_unacked_seconds = 600
    system_lag_seconds     = 300
    silence_seconds        = 900
    rejected_share         = 0.02
    lost_share             = 0.03
    worker_errors          = 100
    imbalance              = 10000
  }
}

run "metrics" {
  module {
    source = "./modules/watch"
  }

  assert {
    condition = (
      google_logging_metric.requests.filter == var.requests_filter &&
      google_logging_metric.requests.label_extractors.status == "EXTRACT(httpRequest.status)" &&
      toset(keys(google_logging_metric.requests.label_extractors)) == toset(google_logging_metric.requests.metric_descriptor[0].labels[*].key) &&
      google_logging_metric.impressions.filter == var.impressions_filter
    )
    error_message = "Requests are counted by status, and what goes to the job by the sink's own filter."
  }
}

run "alerts" {
  module {
    source = "./modules/watch"
  }

  assert {
    condition = (
      toset(keys(google_monitoring_alert_policy.threshold)) == toset(["backlog", "system_lag", "job_failed", "export_errors", "worker_errors"]) &&
      toset(keys(google_monitoring_alert_policy.query)) == toset(["rejects", "refused_rows", "imbalance", "lost"])
    )
    error_message = "An alert is missing."
  }
  assert {
    condition = alltrue([
      for policy in concat(values(google_monitoring_alert_policy.threshold), values(google_monitoring_alert_policy.query), [google_monitoring_alert_policy.silence]) :
      policy.enabled != false && length(policy.notification_channels) == 1 &&
      policy.notification_channels[0] == google_monitoring_notification_channel.email["oncall@example.com"].id &&
      length(policy.documentation[0].content) > 80
    ])
    error_message = "Each alert is sent to somebody and says what to do."
  }
  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.threshold["backlog"].conditions[0].condition_threshold[0].filter, "pubsub.googleapis.com/subscription/oldest_unacked_message_age") &&
      strcontains(google_monitoring_alert_policy.threshold["backlog"].conditions[0].condition_threshold[0].filter, "resource.labels.subscription_id=\"pixelbeam-requests\"") &&
      google_monitoring_alert_policy.threshold["backlog"].conditions[0].condition_threshold[0].threshold_value == 600 &&
      google_monitoring_alert_policy.threshold["system_lag"].conditions[0].condition_threshold[0].threshold_value == 300
    )
    error_message = "Backlog and lag have to be watched at their limits."
  }
  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.threshold["export_errors"].conditions[0].condition_threshold[0].filter, "one_of(\"pixelbeam-pubsub\", \"pixelbeam-archive\")") &&
      google_monitoring_alert_policy.threshold["export_errors"].conditions[0].condition_threshold[0].threshold_value == 0
    )
    error_message = "One entry that a sink cannot write is one too many."
  }
  assert {
    condition = (
      google_monitoring_alert_policy.silence.conditions[0].condition_absent[0].duration == "900s" &&
      strcontains(google_monitoring_alert_policy.silence.conditions[0].condition_absent[0].filter, "user/pixelbeam_impressions") &&
      # The name that Cloud Monitoring has for the resource of load balancer logs.
      strcontains(google_monitoring_alert_policy.silence.conditions[0].condition_absent[0].filter, "resource.type=\"l7_lb_rule\"") &&
      google_monitoring_alert_policy.silence.conditions[1].condition_threshold[0].comparison == "COMPARISON_LT" &&
      google_monitoring_alert_policy.silence.conditions[1].condition_threshold[0].threshold_value == 1 &&
      google_monitoring_alert_policy.silence.conditions[1].condition_threshold[0].duration == "900s" &&
      google_monitoring_alert_policy.silence.conditions[1].condition_threshold[0].filter == google_monitoring_alert_policy.silence.conditions[0].condition_absent[0].filter &&
      google_monitoring_alert_policy.silence.combiner == "OR"
    )
    error_message = "Silence has to be noticed."
  }
  assert {
    condition = (
      strcontains(google_monitoring_alert_policy.query["rejects"].conditions[0].condition_prometheus_query_language[0].query, "> 0.02") &&
      strcontains(google_monitoring_alert_policy.query["lost"].conditions[0].condition_prometheus_query_language[0].query, "logging_googleapis_com:user_pixelbeam_impressions{") &&
      strcontains(google_monitoring_alert_policy.query["lost"].conditions[0].condition_prometheus_query_language[0].query, "> 0.03") &&
      alltrue([
        for name in ["entries_read", "impressions", "rejected", "ignored"] :
        strcontains(google_monitoring_alert_policy.query["imbalance"].conditions[0].condition_prometheus_query_language[0].query, name)
      ])
    )
    error_message = "Rejects, losses and the books have to be watched at their limits."
  }
  # Counters of the sink for rejected entries are not reasons for rejection.
  assert {
    condition = alltrue([
      for name in ["rejects", "imbalance"] :
      length(regexall("rejected[^\"]*_[.][+]\"", google_monitoring_alert_policy.query[name].conditions[0].condition_prometheus_query_language[0].query)) ==
      length(regexall("metric_name!~\"rejected_entries_[.][+]\"", google_monitoring_alert_policy.query[name].conditions[0].condition_prometheus_query_language[0].query)) * 2
    ])
    error_message = "A query takes the sink's counters of rejected rows for reasons."
  }
}

run "budget" {
  module {
    source = "./modules/watch"
  }

  assert {
    condition = (
      google_billing_budget.month[0].amount[0].specified_amount[0].units == "500" &&
      google_billing_budget.month[0].amount[0].specified_amount[0].currency_code == "EUR" &&
      google_billing_budget.month[0].budget_filter[0].projects == toset(["projects/123456789012"]) &&
      contains(google_billing_budget.month[0].threshold_rules[*].spend_basis, "FORECASTED_SPEND")
    )
    error_message = "The budget is of this project and warns of what the month will cost."
  }
}

run "no_billing_account_no_budget" {
  module {
    source = "./modules/watch"
  }
  variables {
    billing_account = null
    emails          = []
  }

  assert {
    condition     = length(google_billing_budget.month) == 0 && length(google_monitoring_alert_policy.silence.notification_channels) == 0
    error_message = "Without a billing account there is no budget."
  }
}

run "dashboard" {
  module {
    source = "./modules/watch"
  }

  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles) == 12
    error_message = "The dashboard is no JSON or lacks charts."
  }
  assert {
    condition = alltrue(flatten([
      for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles : [
        for set in tile.widget.xyChart.dataSets : length(set.timeSeriesQuery) == 1 && length(set.legendTemplate) > 0
      ]
    ]))
    error_message = "Each line is one query, a filter or PromQL, and has a name."
  }
  assert {
    condition = length(setintersection(
      [for tile in jsondecode(google_monitoring_dashboard.this.dashboard_json).mosaicLayout.tiles : "${try(tile.xPos, 0)} ${try(tile.yPos, 0)}"],
      [for p in setproduct(["0", "6"], ["0", "4", "8", "12", "16", "20"]) : join(" ", p)],
    )) == 12
    error_message = "Charts lie over each other."
  }
  assert {
    condition = alltrue([
      for part in ["user/pixelbeam_requests", "user/pixelbeam_impressions", "oldest_unacked_message_age", "system_lag", "rejected", "exports/error_count", "bigtable.googleapis.com/cluster/cpu_load"] :
      strcontains(google_monitoring_dashboard.this.dashboard_json, part)
    ])
    error_message = "The dashboard lacks a part of the path."
  }
}
