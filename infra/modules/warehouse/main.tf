# Tables, views and scheduled statements, all read from the files that the program
# reads: schemas/bigquery.
#
#   tables.json         the tables: partition, clustering, description
#   TABLE.json          a table's columns, in BigQuery's own form
#   NAME.sql            SELECT or WITH, no parameters: the view NAME; its leading
#                       comment is the description
#   NAME.sql with a line "-- schedule: every monday 03:00": a scheduled statement
#                       (times are UTC)
#   any other NAME.sql  a statement for people to run; nothing is made of it
#
# ${dataset} in a file stands for project.dataset. Where the job writes impressions
# of groups of advertisers to tables of their own (grouped), views read
# grouped/impressions.sql in place of impressions.

locals {
  dataset = "${var.project}.${var.dataset}"

  tables = jsondecode(file("${var.schemas_dir}/tables.json"))

  plain_sql = {
    for name in fileset(var.schemas_dir, "*.sql") : trimsuffix(name, ".sql") => file("${var.schemas_dir}/${name}")
  }
  all_impressions = var.grouped ? "(${trimspace(replace(file("${var.schemas_dir}/grouped/impressions.sql"), "/--[^\n]*/", ""))})" : "`$${dataset}.impressions`"
  sql             = { for name, text in local.plain_sql : name => replace(text, "`$${dataset}.impressions`", local.all_impressions) }
  statements = {
    for name, text in local.sql : name => {
      query       = replace(text, "$${dataset}", local.dataset)
      description = join(" ", [for line in regexall("(?m)^-- *(.*)$", try(regex("^(?:--.*\n)+", text), "")) : trimspace(line[0])])
      verb        = upper(try(regex("[A-Za-z]+", replace(text, "/--[^\n]*/", "")), ""))
      parameters  = length(regexall("@[A-Za-z_]", replace(text, "/--[^\n]*/", ""))) > 0
      schedule    = try(trimspace(regex("(?m)^-- schedule:(.+)$", text)[0]), null)
      reads       = toset([for match in regexall("\\$\\{dataset\\}\\.([A-Za-z0-9_]+)", replace(text, "/--[^\n]*/", "")) : match[0]])
    }
  }
  scheduled = { for name, s in local.statements : name => s if s.schedule != null }
  views     = { for name, s in local.statements : name => s if s.schedule == null && !s.parameters && contains(["SELECT", "WITH"], s.verb) }

  # A view can be made when what it reads is there, so views are made level by level.
  view_names = toset(keys(local.views))
  level = {
    for name, v in local.views : name => v if length(setintersection(v.reads, local.view_names)) == 0
  }
  level1 = {
    for name, v in local.views : name => v
    if !contains(keys(local.level), name) && length(setsubtract(setintersection(v.reads, local.view_names), keys(local.level))) == 0
  }
  level2 = {
    for name, v in local.views : name => v
    if !contains(concat(keys(local.level), keys(local.level1)), name) &&
    length(setsubtract(setintersection(v.reads, local.view_names), concat(keys(local.level), keys(local.level1)))) == 0
  }
  unplaced = setsubtract(local.view_names, concat(keys(local.level), keys(local.level1), keys(local.level2)))
}

# Only google_bigquery_dataset_access and rights on single tables are used in this
# dataset: google_bigquery_dataset_iam_* would take its authorised views away.
resource "google_bigquery_dataset" "this" {
  project                    = var.project
  dataset_id                 = var.dataset
  location                   = var.location
  description                = "Pixelbeam: impressions, counts and rejected entries"
  max_time_travel_hours      = "168"
  delete_contents_on_destroy = !var.deletion_protection

  lifecycle {
    precondition {
      condition     = length(local.unplaced) == 0
      error_message = "Views refer to each other more than three deep, or in a circle: ${join(", ", local.unplaced)} (${var.schemas_dir})."
    }
  }
}

resource "google_bigquery_table" "table" {
  for_each = local.tables

  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  schema              = file("${var.schemas_dir}/${each.key}.json")
  clustering          = try(each.value.clustering, null)
  deletion_protection = var.deletion_protection

  time_partitioning {
    type          = each.value.partition.type
    field         = each.value.partition.field
    expiration_ms = try(var.retention_days[each.key] * 24 * 60 * 60 * 1000, null)
  }
}

# To read tables by a prefix is an error where there is none, so the views of groups
# need one that is always there. No group has its name.
resource "google_bigquery_table" "group_seed" {
  count = var.grouped ? 1 : 0

  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = "impressions_for__none"
  description         = "Always empty; it lets views read the tables of groups when there is none yet."
  schema              = google_bigquery_table.table["impressions"].schema
  clustering          = google_bigquery_table.table["impressions"].clustering
  deletion_protection = var.deletion_protection

  time_partitioning {
    type          = local.tables["impressions"].partition.type
    field         = local.tables["impressions"].partition.field
    expiration_ms = try(var.retention_days["impressions"] * 24 * 60 * 60 * 1000, null)
  }
}

resource "google_bigquery_table" "view" {
  for_each = local.level

  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.table, google_bigquery_table.group_seed]
}

resource "google_bigquery_table" "view1" {
  for_each = local.level1

  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.view]
}

resource "google_bigquery_table" "view2" {
  for_each = local.level2

  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false

  view {
    query          = each.value.query
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.view1]
}
