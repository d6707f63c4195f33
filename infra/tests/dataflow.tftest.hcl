# The job drains, gets the flags that it has, and may do what it must and no more.

mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email  = "pixelbeam-worker@example-project.iam.gserviceaccount.com"
      member = "serviceAccount:pixelbeam-worker@example-project.iam.gserviceaccount.com"
      name   = "projects/example-project/serviceAccounts/pixelbeam-worker@example-project.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_project_iam_custom_role" {
    defaults = {
      name = "projects/example-project/roles/pixelbeam_watermark_tracking"
    }
  }
}
mock_provider "google-beta" {}

variables {
  project           = "example-project"
  region            = "europe-west1"
  name              = "pixelbeam"
  labels            = { app = "pixelbeam" }
  template_image    = "europe-west1-docker.pkg.dev/example-project/pixelbeam/pixelbeam:v1"
  job_parameters    = { shards = "64" }
  subscription      = "projects/example-project/subscriptions/pixelbeam-requests"
  subscription_name = "pixelbeam-requests"
  topic_name        = "pixelbeam-requests"
  dead_topic_name   = "pixelbeam-dead"
  pixel_paths       = ["/pixel.gif", "/p.gif"]
  dataset           = "example-project.pixelbeam"
  dataset_id        = "pixelbeam"
  tables            = ["impressions", "rejected_entries"]
  bigtable_instance = "pixelbeam"
  bigtable_table    = "profiles"
  machine_type      = "n2d-standard-4"
  num_workers       = 1
  max_workers       = 20
}

run "job" {
  module {
    source = "./modules/dataflow"
  }

  assert {
    condition = (
      google_dataflow_flex_template_job.this[0].on_delete == "drain" &&
      google_dataflow_flex_template_job.this[0].skip_wait_on_job_termination == false
    )
    error_message = "A job that is destroyed has to be drained, and Terraform has to wait for it."
  }
  assert {
    condition = google_dataflow_flex_template_job.this[0].parameters == tomap({
      subscription      = "projects/example-project/subscriptions/pixelbeam-requests"
      pixel_paths       = "/pixel.gif,/p.gif"
      bigquery_dataset  = "example-project.pixelbeam"
      bigtable_instance = "pixelbeam"
      bigtable_table    = "profiles"
      shards            = "64"
    })
    error_message = "The job's flags are wrong."
  }
  assert {
    condition = length(setsubtract(
      keys(google_dataflow_flex_template_job.this[0].parameters),
      jsondecode(google_storage_bucket_object.spec[0].content).metadata.parameters[*].name,
    )) == 0
    error_message = "The job is given a flag that the template's metadata does not have."
  }
  assert {
    condition = alltrue([
      for p in jsondecode(google_storage_bucket_object.spec[0].content).metadata.parameters :
      try(p.isOptional, false) || contains(keys(google_dataflow_flex_template_job.this[0].parameters), p.name)
    ])
    error_message = "A flag that the template needs is not given."
  }
  assert {
    condition = alltrue([
      for p in jsondecode(google_storage_bucket_object.spec[0].content).metadata.parameters :
      alltrue([for r in try(p.regexes, []) : can(regex(r, google_dataflow_flex_template_job.this[0].parameters[p.name]))])
      if contains(keys(google_dataflow_flex_template_job.this[0].parameters), p.name)
    ])
    error_message = "The template would refuse a flag that the job is given."
  }
  assert {
    condition = (
      jsondecode(google_storage_bucket_object.spec[0].content).image == var.template_image &&
      jsondecode(google_storage_bucket_object.spec[0].content).sdkInfo.language == "GO" &&
      jsondecode(google_storage_bucket_object.spec[0].content).metadata.streaming &&
      google_dataflow_flex_template_job.this[0].container_spec_gcs_path == "gs://example-project-pixelbeam-dataflow/${google_storage_bucket_object.spec[0].name}" &&
      strcontains(google_storage_bucket_object.spec[0].name, substr(sha256(google_storage_bucket_object.spec[0].content), 0, 12))
    )
    error_message = "The template spec has to hold the image and the metadata, under a name that follows its content."
  }
  assert {
    condition = (
      google_dataflow_flex_template_job.this[0].ip_configuration == "WORKER_IP_PRIVATE" &&
      google_dataflow_flex_template_job.this[0].enable_streaming_engine &&
      google_dataflow_flex_template_job.this[0].service_account_email == google_service_account.worker.email &&
      google_dataflow_flex_template_job.this[0].subnetwork == google_compute_subnetwork.workers[0].self_link &&
      google_compute_subnetwork.workers[0].private_ip_google_access
    )
    error_message = "Workers have no public address, run as their own account, and reach Google's services privately."
  }
  assert {
    condition = (
      google_storage_bucket.staging.public_access_prevention == "enforced" &&
      alltrue([for rule in google_storage_bucket.staging.lifecycle_rule : tolist(one(rule.condition).matches_prefix) == tolist(["temp/"])])
    )
    error_message = "Staged programs must not be deleted by age: new workers of a running job fetch them."
  }
}

run "no_image_no_job" {
  module {
    source = "./modules/dataflow"
  }
  variables {
    template_image = null
    subnetwork     = "regions/europe-west1/subnetworks/mine"
  }

  assert {
    condition = (
      length(google_dataflow_flex_template_job.this) == 0 && length(google_storage_bucket_object.spec) == 0 &&
      output.job_id == null && output.spec == null && output.job_name == "pixelbeam"
    )
    error_message = "Without an image there is no job."
  }
  assert {
    condition     = length(google_compute_network.workers) == 0 && output.subnetwork == "regions/europe-west1/subnetworks/mine"
    error_message = "A given subnetwork is used, and no other is made."
  }
}

run "roles_are_exact" {
  module {
    source = "./modules/dataflow"
  }

  assert {
    condition = toset(concat(
      [for r in google_project_iam_member.worker : "project ${r.role}"],
      ["project ${google_project_iam_member.tracking.role}"],
      ["account ${google_service_account_iam_member.launcher.role} ${google_service_account_iam_member.launcher.service_account_id}"],
      ["bucket ${google_storage_bucket_iam_member.staging.role} ${google_storage_bucket_iam_member.staging.bucket}"],
      [for r in google_pubsub_subscription_iam_member.worker : "subscription ${r.role} ${r.subscription}"],
      [for r in [google_pubsub_topic_iam_member.requests, google_pubsub_topic_iam_member.dead] : "topic ${r.role} ${r.topic}"],
      [for r in google_bigquery_table_iam_member.worker : "table ${r.role} ${r.dataset_id}.${r.table_id}"],
      ["bigtable ${google_bigtable_table_iam_member.worker.role} ${google_bigtable_table_iam_member.worker.instance_name}/${google_bigtable_table_iam_member.worker.table}"],
      ["repository ${google_artifact_registry_repository_iam_member.worker.role}"],
      )) == toset([
      "project roles/dataflow.worker",
      "project roles/dataflow.admin",
      "project projects/example-project/roles/pixelbeam_watermark_tracking",
      "account roles/iam.serviceAccountUser projects/example-project/serviceAccounts/pixelbeam-worker@example-project.iam.gserviceaccount.com",
      "bucket roles/storage.objectAdmin example-project-pixelbeam-dataflow",
      "subscription roles/pubsub.subscriber pixelbeam-requests",
      "subscription roles/pubsub.viewer pixelbeam-requests",
      "topic roles/pubsub.subscriber pixelbeam-requests",
      "topic roles/pubsub.publisher pixelbeam-dead",
      "table roles/bigquery.dataEditor pixelbeam.impressions",
      "table roles/bigquery.dataEditor pixelbeam.rejected_entries",
      "bigtable roles/bigtable.user pixelbeam/profiles",
      "repository roles/artifactregistry.reader",
    ])
    error_message = "The worker account's rights changed."
  }
  assert {
    condition = google_project_iam_custom_role.tracking.permissions == toset([
      "pubsub.subscriptions.create", "pubsub.subscriptions.delete", "pubsub.subscriptions.get", "pubsub.subscriptions.update",
    ])
    error_message = "The role for Dataflow's watermark subscription changed."
  }
  # Whatever is granted anywhere has its name in a file.
  assert {
    condition = toset(flatten([
      for name in setunion(fileset(".", "*.tf"), fileset(".", "modules/**/*.tf")) :
      regexall("\"roles/[A-Za-z.]+\"", file(name)) if google_service_account.worker.member != ""
      ])) == toset([
      for role in [
        "artifactregistry.reader", "bigquery.dataEditor", "bigquery.jobUser", "bigtable.reader", "bigtable.user", "dataflow.admin", "dataflow.worker",
        "iam.serviceAccountUser", "pubsub.publisher", "pubsub.subscriber", "pubsub.viewer",
        "storage.legacyObjectReader", "storage.objectAdmin", "storage.objectCreator",
      ] : "\"roles/${role}\""
    ])
    error_message = "A role is granted that is not on the list."
  }
}

# Tables of groups: the file, the flags, and the right to make tables, all or none.

run "no_groups" {
  module {
    source = "./modules/dataflow"
  }

  assert {
    condition = (
      length(google_storage_bucket_object.groups) == 0 &&
      length(google_project_iam_custom_role.groups) == 0 &&
      length(google_bigquery_dataset_access.groups) == 0
    )
    error_message = "Without groups the job may make no tables."
  }
}

run "groups" {
  module {
    source = "./modules/dataflow"
  }
  variables {
    advertiser_groups = "acme,retail\n"
  }

  assert {
    condition = (
      google_dataflow_flex_template_job.this[0].parameters["table_suffix_by"] == "advertiser" &&
      google_dataflow_flex_template_job.this[0].parameters["advertiser_groups"] == "gs://example-project-pixelbeam-dataflow/groups/pixelbeam-${substr(sha256("acme,retail\n"), 0, 12)}.csv" &&
      google_storage_bucket_object.groups[0].content == "acme,retail\n"
    )
    error_message = "The job has to be given the file of groups, by a path that changes with it."
  }
  assert {
    condition = length(setsubtract(
      keys(google_dataflow_flex_template_job.this[0].parameters),
      jsondecode(google_storage_bucket_object.spec[0].content).metadata.parameters[*].name,
    )) == 0
    error_message = "The job is given a flag that the template's metadata does not have."
  }
  assert {
    condition = (
      google_bigquery_dataset_access.groups[0].dataset_id == "pixelbeam" &&
      google_bigquery_dataset_access.groups[0].role == google_project_iam_custom_role.groups[0].name &&
      google_bigquery_dataset_access.groups[0].user_by_email == google_service_account.worker.email &&
      toset(google_project_iam_custom_role.groups[0].permissions) == toset([
        "bigquery.tables.create", "bigquery.tables.get", "bigquery.tables.list", "bigquery.tables.update", "bigquery.tables.updateData",
      ])
    )
    error_message = "The worker may make tables in this dataset and write to them, and not read or delete them."
  }
}
