# The modules together, what the user is told, and what he is told when a variable is
# wrong.

mock_provider "google" {
  mock_resource "google_compute_global_address" {
    defaults = {
      address = "192.0.2.1"
    }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "pixelbeam-worker@example-project.iam.gserviceaccount.com"
      member = "serviceAccount:pixelbeam-worker@example-project.iam.gserviceaccount.com"
    }
  }
}
mock_provider "google-beta" {
  mock_resource "google_dataflow_flex_template_job" {
    defaults = {
      job_id = "2026-03-01_00_00_00-1"
    }
  }
}

variables {
  project = "example-project"
  region  = "europe-west1"
  domains = ["pixel.example.com", "px.example.net"]
}

run "first_apply" {
  assert {
    condition = (
      output.pixel_url == "https://pixel.example.com/pixel.gif" &&
      startswith(output.tag, "<img src=\"https://pixel.example.com/pixel.gif?adv=") && strcontains(output.tag, "&cb=RANDOM\"")
    )
    error_message = "The tag has to be printed, with a cache-buster."
  }
  assert {
    condition     = output.job_id == null && strcontains(output.next, "terraform apply -var template_image=europe-west1-docker.pkg.dev/example-project/pixelbeam/pixelbeam:TAG")
    error_message = "Before there is an image, the next step is to make one."
  }
  assert {
    condition = output.dns_records == [
      "pixel.example.com. 300 IN A 192.0.2.1", "pixel.example.com. 300 IN AAAA 192.0.2.1",
      "px.example.net. 300 IN A 192.0.2.1", "px.example.net. 300 IN AAAA 192.0.2.1",
    ] && strcontains(output.next, "terraform output dns_records")
    error_message = "Without dns_zone the user has to be told which records to make."
  }
  assert {
    condition     = output.dataset == "example-project.pixelbeam" && module.profiles.table == "profiles" && module.ingest.archive_bucket == "example-project-pixelbeam-archive"
    error_message = "A name is not the default one."
  }
  assert {
    condition = (
      strcontains(module.ingest.impressions_filter, "resource.labels.url_map_name=\"${module.edge.url_map_name}\"") &&
      module.edge.url_map_name == "pixelbeam"
    )
    error_message = "The sinks have to take the log of this load balancer."
  }
  assert {
    condition     = alltrue([for s in google_project_service.api : !s.disable_on_destroy])
    error_message = "Services that others may use stay on when this is destroyed."
  }
}

run "with_the_job" {
  variables {
    template_image = "europe-west1-docker.pkg.dev/example-project/pixelbeam/pixelbeam@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    job_parameters = { allowed_lateness = "20m" }
    dns_zone       = "example-com"
    pixel_paths    = ["/t/1.gif"]
    advertisers    = { acme = { ids = ["ACME"] } }
    alert_emails   = ["oncall@example.com"]
  }

  assert {
    condition     = output.job_id == "2026-03-01_00_00_00-1" && strcontains(output.next, "gcloud dataflow jobs list") && !strcontains(output.next, "dns_records")
    error_message = "With the job running, the next step is to look for rows."
  }
  assert {
    condition     = strcontains(output.tag, "/t/1.gif?") && strcontains(module.ingest.patterns.pixel, "(/t/1[.]gif)([?#]|$)")
    error_message = "Pixel, tag and filter have to use the same paths."
  }
}

# Wrong variables are refused before anything is made: each run is wrong in all that
# it expects to fail.

run "wrong" {
  command = plan
  variables {
    project                   = "Example Project"
    region                    = "europe-west1-b"
    domains                   = []
    name                      = "pix"
    labels                    = { Team = "ads" }
    pixel_paths               = ["pixel.gif"]
    dns_zone                  = "example.com."
    edge_security_policy      = "my-policy"
    archive_days              = 30
    dataset                   = "pixel-beam"
    bigquery_location         = "Europe"
    retention_days            = { impression = 30 }
    advertisers               = { acme = { ids = ["x') OR TRUE --"] } }
    advertiser_hidden_columns = ["ip_address"]
    bigtable_nodes            = { min = 1, max = 11 }
    template_image            = "europe-west1-docker.pkg.dev/example-project/pixelbeam/pixelbeam"
    job_parameters            = { subscription = "projects/p/subscriptions/other" }
    workers                   = { start = 5, max = 4 }
    subnetwork                = "default"
    alert_emails              = ["oncall"]
    limits                    = { rejected_share = 5 }
    billing_account           = "My Billing Account"
    budget                    = { currency = "dollars" }
  }
  expect_failures = [
    var.project, var.region, var.domains, var.name, var.labels, var.pixel_paths, var.dns_zone, var.edge_security_policy,
    var.archive_days, var.dataset, var.bigquery_location, var.retention_days, var.advertisers, var.advertiser_hidden_columns,
    var.bigtable_nodes, var.template_image, var.job_parameters, var.workers, var.subnetwork, var.alert_emails,
    var.limits, var.billing_account, var.budget,
  ]
}

run "wrong_otherwise" {
  command = plan
  variables {
    domains        = ["https://pixel.example.com/"]
    pixel_paths    = ["/pixel (1).gif"]
    retention_days = { impressions = 0.5 }
    advertisers    = { acme = { ids = ["ACME"], readers = ["allUsers"] } }
    bigtable_nodes = { cpu_target = 90 }
    template_image = "europe-west1-docker.pkg.dev/example-project/pixelbeam/pixelbeam:latest"
    job_parameters = { shard = "16" }
    limits         = { silence_seconds = 86400 }
    zone           = "us-central1-a"
  }
  expect_failures = [
    var.domains, var.pixel_paths, var.retention_days, var.advertisers, var.bigtable_nodes, var.template_image,
    var.job_parameters, var.limits, var.zone,
  ]
}

run "wrong_in_a_third_way" {
  command = plan
  variables {
    domains        = ["*.example.com"]
    pixel_paths    = ["/p.gif", "/p.gif"]
    retention_days = { impression_counts = 20 }
    advertisers    = { "acme-inc" = { ids = ["ACME"] } }
    limits         = { system_lag_seconds = 5 }
  }
  expect_failures = [var.domains, var.pixel_paths, var.retention_days, var.advertisers, var.limits]
}
