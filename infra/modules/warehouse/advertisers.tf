# What an advertiser may see: views of his own rows in a dataset of his own, which
# the readers that he names can query, and which alone can read the tables.

locals {
  # View of an advertiser -> our view that it is made from.
  advertiser_views = {
    impressions       = { from = "impressions_unique", hide = var.hidden_columns }
    impression_counts = { from = "impression_counts_current", hide = [] }
  }

  advertiser_view_pairs = merge([
    for advertiser, a in var.advertisers : {
      for view, v in local.advertiser_views : "${advertiser} ${view}" => {
        advertiser = advertiser
        view       = view
        select     = length(v.hide) == 0 ? "*" : "* EXCEPT (${join(", ", v.hide)})"
        # The advertiser's rows are chosen inside, before rows are compared with each
        # other: copies of a row have the same advertiser, and BigQuery then reads his
        # clusters only. Reading tables and not views needs one authorisation each.
        query = replace(
          local.sql[v.from],
          "/`\\$\\{dataset\\}\\.([A-Za-z0-9_]+\\*?)`/",
          "(SELECT * FROM `${local.dataset}.$1` WHERE advertiser_id IN (${join(", ", [for id in a.ids : "'${id}'"])}))",
        )
      }
    }
  ]...)

  advertiser_readers = merge([
    for advertiser, a in var.advertisers : {
      for reader in a.readers : "${advertiser} ${reader}" => { advertiser = advertiser, reader = reader }
    }
  ]...)
}

resource "google_bigquery_dataset" "advertiser" {
  for_each = var.advertisers

  project                    = var.project
  dataset_id                 = "${var.dataset}_${each.key}"
  location                   = var.location
  description                = "Pixelbeam: what ${each.key} may see"
  delete_contents_on_destroy = true

  lifecycle {
    precondition {
      condition = alltrue([
        for v in local.advertiser_views : length(setintersection(local.statements[v.from].reads, local.view_names)) == 0
      ])
      error_message = "An advertiser's views are made from views that read tables only: impressions_unique and impression_counts_current."
    }
  }
}

resource "google_bigquery_table" "advertiser" {
  for_each = local.advertiser_view_pairs

  project             = var.project
  dataset_id          = google_bigquery_dataset.advertiser[each.value.advertiser].dataset_id
  table_id            = each.value.view
  description         = local.statements[local.advertiser_views[each.value.view].from].description
  deletion_protection = false

  view {
    query          = "SELECT ${each.value.select} FROM (\n${each.value.query}\n)\n"
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.table, google_bigquery_table.group_seed]
}

resource "google_bigquery_dataset_access" "advertiser" {
  for_each = local.advertiser_view_pairs

  project    = var.project
  dataset_id = google_bigquery_dataset.this.dataset_id

  view {
    project_id = var.project
    dataset_id = google_bigquery_table.advertiser[each.key].dataset_id
    table_id   = google_bigquery_table.advertiser[each.key].table_id
  }
}

resource "google_bigquery_dataset_access" "reader" {
  for_each = local.advertiser_readers

  project    = var.project
  dataset_id = google_bigquery_dataset.advertiser[each.value.advertiser].dataset_id
  role       = "READER" # the API's name for roles/bigquery.dataViewer on a dataset

  user_by_email  = startswith(each.value.reader, "user:") || startswith(each.value.reader, "serviceAccount:") ? split(":", each.value.reader)[1] : null
  group_by_email = startswith(each.value.reader, "group:") ? split(":", each.value.reader)[1] : null
}
