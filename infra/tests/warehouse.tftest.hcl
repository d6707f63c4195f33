# Tables are the schema files, views are the SQL files, and an advertiser sees his
# own rows.

mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email  = "rollup@example.iam.gserviceaccount.com"
      member = "serviceAccount:rollup@example.iam.gserviceaccount.com"
    }
  }
}

variables {
  project             = "example-project"
  name                = "pixelbeam"
  location            = "EU"
  dataset             = "pixelbeam"
  schemas_dir         = "../schemas/bigquery"
  deletion_protection = true
  hidden_columns      = ["ip", "user_agent"]
}

run "tables_are_the_schema_files" {
  module {
    source = "./modules/warehouse"
  }
  variables {
    retention_days = { rejected_entries = 90 }
  }

  assert {
    condition = (
      keys(google_bigquery_table.table) == keys(jsondecode(file("../schemas/bigquery/tables.json"))) &&
      length(setsubtract(["impressions", "impression_counts", "rejected_entries"], keys(google_bigquery_table.table))) == 0
    )
    error_message = "There has to be a table for each of tables.json."
  }
  assert {
    condition = alltrue([
      for name, t in google_bigquery_table.table :
      jsondecode(t.schema) == jsondecode(file("../schemas/bigquery/${name}.json"))
    ])
    error_message = "A table's columns are not those of its file."
  }
  assert {
    condition = alltrue([
      for name, t in jsondecode(file("../schemas/bigquery/tables.json")) :
      google_bigquery_table.table[name].time_partitioning[0].type == t.partition.type &&
      google_bigquery_table.table[name].time_partitioning[0].field == t.partition.field &&
      jsonencode(google_bigquery_table.table[name].clustering) == jsonencode(try(t.clustering, null)) &&
      google_bigquery_table.table[name].deletion_protection
    ])
    error_message = "A table is partitioned, clustered or protected otherwise than its file says."
  }
  assert {
    condition = (
      google_bigquery_table.table["rejected_entries"].time_partitioning[0].expiration_ms == 90 * 86400000 &&
      # A mocked provider fills what is not set; the value given is 0 then.
      google_bigquery_table.table["impressions"].time_partitioning[0].expiration_ms != 90 * 86400000
    )
    error_message = "Retention has to be that of retention_days, for the tables named there."
  }
  assert {
    condition     = toset(output.job_tables) == toset([for name, t in jsondecode(file("../schemas/bigquery/tables.json")) : name if try(t.message, "") != ""])
    error_message = "The job may write the tables that have a row message."
  }
  assert {
    condition     = length(setsubtract(["impressions_unique", "impression_counts_current"], output.views)) == 0
    error_message = "The views that every reader uses have to be there."
  }
  assert {
    condition = alltrue([
      for v in merge(google_bigquery_table.view, google_bigquery_table.view1, google_bigquery_table.view2) :
      !strcontains(v.view[0].query, "$${dataset}") && strcontains(v.view[0].query, "example-project.pixelbeam.") && v.view[0].use_legacy_sql == false
    ])
    error_message = "A view does not name the dataset's tables."
  }
}

run "kinds_of_sql_files" {
  module {
    source = "./modules/warehouse"
  }
  variables {
    schemas_dir = "tests/schemas"
  }

  assert {
    condition = (
      keys(google_bigquery_table.view) == ["impression_counts_current", "impressions_unique"] &&
      keys(google_bigquery_table.view1) == ["b_of_unique"] &&
      keys(google_bigquery_table.view2) == ["c_of_b"]
    )
    error_message = "Views have to be made after those that they read, and of views only."
  }
  assert {
    condition     = output.job_tables == ["rows"]
    error_message = "Only tables with a message are the job's."
  }
  assert {
    condition = (
      google_bigquery_table.view["impressions_unique"].description == "Each row once." &&
      google_bigquery_table.view1["b_of_unique"].description == "From a view."
    )
    error_message = "A view's description is its leading comment."
  }
  assert {
    condition = (
      keys(google_bigquery_data_transfer_config.rollup) == ["weekly_merge"] &&
      google_bigquery_data_transfer_config.rollup["weekly_merge"].schedule == "every monday 03:00" &&
      google_bigquery_data_transfer_config.rollup["weekly_merge"].data_source_id == "scheduled_query" &&
      google_bigquery_data_transfer_config.rollup["weekly_merge"].location == "EU" &&
      strcontains(google_bigquery_data_transfer_config.rollup["weekly_merge"].params.query, "MERGE `example-project.pixelbeam.weekly` t")
    )
    error_message = "A file with a schedule is a scheduled statement."
  }
  assert {
    condition = (
      google_bigquery_data_transfer_config.rollup["weekly_merge"].service_account_name == google_service_account.rollup[0].email &&
      google_project_iam_member.rollup[0].role == "roles/bigquery.jobUser" &&
      google_bigquery_dataset_access.rollup[0].role == "WRITER" &&
      google_bigquery_dataset_access.rollup[0].user_by_email == google_service_account.rollup[0].email
    )
    error_message = "Scheduled statements run as their own account, which may run jobs and write this dataset."
  }
}

run "advertisers_see_their_rows" {
  module {
    source = "./modules/warehouse"
  }
  variables {
    advertisers = {
      acme = { ids = ["ACME", "ACME-2"], readers = ["group:analysts@acme.example", "user:ann@acme.example"] }
      beta = { ids = ["b"], readers = [] }
    }
  }

  assert {
    condition = (
      google_bigquery_table.advertiser["acme impressions"].view[0].query == join("", [
        "SELECT * EXCEPT (ip, user_agent) FROM (\n",
        replace(
          file("../schemas/bigquery/impressions_unique.sql"),
          "`$${dataset}.impressions`",
          "(SELECT * FROM `example-project.pixelbeam.impressions` WHERE advertiser_id IN ('ACME', 'ACME-2'))",
        ),
        "\n)\n",
      ]) &&
      strcontains(google_bigquery_table.advertiser["beta impression_counts"].view[0].query, "FROM (SELECT * FROM `example-project.pixelbeam.impression_counts` WHERE advertiser_id IN ('b'))")
    )
    error_message = "An advertiser's view has to hold his rows only: ${google_bigquery_table.advertiser["acme impressions"].view[0].query}"
  }
  # No table is reached but through the choice of rows.
  assert {
    condition = alltrue([
      for v in google_bigquery_table.advertiser :
      length(regexall("example-project[.]pixelbeam[.]", v.view[0].query)) == length(regexall("\\(SELECT \\* FROM `example-project[.]pixelbeam[.][a-z_]+` WHERE advertiser_id IN \\('", v.view[0].query))
    ])
    error_message = "An advertiser's view reads a table whole."
  }
  assert {
    condition = (
      toset([for a in google_bigquery_dataset_access.advertiser : "${a.dataset_id} ${a.view[0].dataset_id}.${a.view[0].table_id}"]) == toset([
        "pixelbeam pixelbeam_acme.impressions", "pixelbeam pixelbeam_acme.impression_counts",
        "pixelbeam pixelbeam_beta.impressions", "pixelbeam pixelbeam_beta.impression_counts",
      ])
    )
    error_message = "Each view, and no other, has to be authorised on the dataset of the tables."
  }
  assert {
    condition = (
      toset([for a in google_bigquery_dataset_access.reader : "${a.dataset_id} ${a.role} ${coalesce(a.group_by_email, "-")} ${coalesce(a.user_by_email, "-")}"]) == toset([
        "pixelbeam_acme READER analysts@acme.example -",
        "pixelbeam_acme READER - ann@acme.example",
      ])
    )
    error_message = "Readers may read their advertiser's dataset, and nothing else."
  }
  # Rights on the whole dataset by google_bigquery_dataset_iam_* would take the
  # authorised views away.
  assert {
    condition = length(flatten([
      for name in fileset(".", "modules/**/*.tf") :
      regexall("resource \"google_bigquery_dataset_iam", file(name)) if google_bigquery_dataset.this.dataset_id != ""
    ])) == 0
    error_message = "google_bigquery_dataset_iam_* removes authorised views: use google_bigquery_dataset_access."
  }
}

# With tables of groups, views read them too, and an advertiser still sees only his.
run "groups" {
  module {
    source = "./modules/warehouse"
  }
  variables {
    grouped        = true
    retention_days = { impressions = 400 }
    advertisers    = { acme = { ids = ["ACME"], readers = [] } }
  }

  assert {
    condition = (
      google_bigquery_table.group_seed[0].table_id == "impressions_for__none" &&
      jsondecode(google_bigquery_table.group_seed[0].schema) == jsondecode(file("../schemas/bigquery/impressions.json")) &&
      google_bigquery_table.group_seed[0].time_partitioning[0].field == "event_time" &&
      google_bigquery_table.group_seed[0].time_partitioning[0].expiration_ms == 400 * 86400000 &&
      google_bigquery_table.group_seed[0].clustering == google_bigquery_table.table["impressions"].clustering
    )
    error_message = "The table that a prefix needs has to be as impressions is."
  }
  assert {
    condition = google_bigquery_table.view["impressions_unique"].view[0].query == replace(
      file("../schemas/bigquery/impressions_unique.sql"),
      "`$${dataset}.impressions`",
      "(SELECT * FROM `example-project.pixelbeam.impressions`\nFULL OUTER UNION ALL BY NAME\nSELECT * FROM `example-project.pixelbeam.impressions_for_*`)",
    )
    error_message = "impressions_unique has to read all tables: ${google_bigquery_table.view["impressions_unique"].view[0].query}"
  }
  assert {
    condition = alltrue([
      for v in merge(google_bigquery_table.view, google_bigquery_table.view1, google_bigquery_table.view2) :
      length(regexall("`example-project[.]pixelbeam[.]impressions`", v.view[0].query)) == length(regexall("`example-project[.]pixelbeam[.]impressions_for_[*]`", v.view[0].query))
    ])
    error_message = "A view reads impressions and not the tables of groups."
  }
  # BigQuery refuses a prefix that a view has too.
  assert {
    condition     = alltrue([for name in output.views : !startswith(name, "impressions_for_")])
    error_message = "A view has the prefix of the tables of groups."
  }
  assert {
    condition = (
      strcontains(google_bigquery_table.advertiser["acme impressions"].view[0].query, "(SELECT * FROM `example-project.pixelbeam.impressions_for_*` WHERE advertiser_id IN ('ACME'))") &&
      length(regexall("example-project[.]pixelbeam[.]", google_bigquery_table.advertiser["acme impressions"].view[0].query)) == length(regexall("WHERE advertiser_id IN", google_bigquery_table.advertiser["acme impressions"].view[0].query))
    )
    error_message = "An advertiser's view reads a table whole: ${google_bigquery_table.advertiser["acme impressions"].view[0].query}"
  }
}

run "no_groups" {
  module {
    source = "./modules/warehouse"
  }

  assert {
    condition     = length(google_bigquery_table.group_seed) == 0 && google_bigquery_table.view["impressions_unique"].view[0].query == replace(file("../schemas/bigquery/impressions_unique.sql"), "$${dataset}", "example-project.pixelbeam")
    error_message = "Without groups, views read impressions alone."
  }
}
