# The whole path, in the order in which an impression takes it:
#
#   browser -> edge -> log -> ingest (Pub/Sub, archive) -> dataflow -> warehouse, profiles
#                        \-> watch (metrics, alerts, dashboard, budget)

locals {
  labels      = merge({ app = var.name }, var.labels)
  schemas_dir = "${path.module}/../schemas"

  services = [
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "bigquerydatatransfer.googleapis.com",
    "bigquerystorage.googleapis.com",
    "bigtable.googleapis.com",
    "bigtableadmin.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "dns.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "storage.googleapis.com",
  ]
}

resource "google_project_service" "api" {
  for_each = toset(local.services)

  project            = var.project
  service            = each.key
  disable_on_destroy = false
}

module "edge" {
  source = "./modules/edge"

  project              = var.project
  name                 = var.name
  location             = var.region
  domains              = var.domains
  dns_zone             = var.dns_zone
  http                 = var.http
  pixel_paths          = var.pixel_paths
  edge_security_policy = var.edge_security_policy

  depends_on = [google_project_service.api]
}

module "ingest" {
  source = "./modules/ingest"

  project          = var.project
  name             = var.name
  url_map_name     = module.edge.url_map_name
  pixel_paths      = var.pixel_paths
  archive_location = var.region
  archive_days     = var.archive_days

  depends_on = [google_project_service.api]
}

module "warehouse" {
  source = "./modules/warehouse"

  project             = var.project
  name                = var.name
  location            = coalesce(var.bigquery_location, var.region)
  dataset             = var.dataset
  schemas_dir         = "${local.schemas_dir}/bigquery"
  deletion_protection = var.deletion_protection
  retention_days      = var.retention_days
  grouped             = var.advertiser_groups_file != null
  advertisers         = var.advertisers
  hidden_columns      = var.advertiser_hidden_columns

  depends_on = [google_project_service.api]
}

module "profiles" {
  source = "./modules/profiles"

  project             = var.project
  name                = var.name
  zone                = coalesce(var.zone, "${var.region}-b")
  min_nodes           = var.bigtable_nodes.min
  max_nodes           = var.bigtable_nodes.max
  cpu_target          = var.bigtable_nodes.cpu_target
  schema_file         = "${local.schemas_dir}/bigtable/profiles.json"
  deletion_protection = var.deletion_protection

  depends_on = [google_project_service.api]
}

module "dataflow" {
  source = "./modules/dataflow"

  project           = var.project
  region            = var.region
  name              = var.name
  labels            = local.labels
  template_image    = var.template_image
  job_parameters    = var.job_parameters
  advertiser_groups = var.advertiser_groups_file == null ? null : file(var.advertiser_groups_file)
  subscription      = module.ingest.subscription
  subscription_name = module.ingest.subscription_name
  topic_name        = module.ingest.topic_name
  dead_topic_name   = module.ingest.dead_topic
  pixel_paths       = var.pixel_paths
  dataset           = module.warehouse.dataset
  dataset_id        = module.warehouse.dataset_id
  tables            = module.warehouse.job_tables
  bigtable_instance = module.profiles.instance
  bigtable_table    = module.profiles.table
  machine_type      = var.workers.machine_type
  num_workers       = var.workers.start
  max_workers       = var.workers.max
  subnetwork        = var.subnetwork

  depends_on = [google_project_service.api]
}

module "watch" {
  source = "./modules/watch"

  project            = var.project
  name               = var.name
  requests_filter    = module.ingest.requests_filter
  impressions_filter = module.ingest.impressions_filter
  sinks              = module.ingest.sinks
  subscription_name  = module.ingest.subscription_name
  job_name           = module.dataflow.job_name
  bigtable_instance  = module.profiles.instance
  emails             = var.alert_emails
  limits             = var.limits
  billing_account    = var.billing_account
  budget             = var.budget

  depends_on = [google_project_service.api]
}
