# The table of profiles is what schemas/bigtable/profiles.json says.

mock_provider "google" {}

variables {
  project             = "example-project"
  name                = "pixelbeam"
  zone                = "europe-west1-b"
  min_nodes           = 1
  max_nodes           = 10
  cpu_target          = 60
  schema_file         = "../schemas/bigtable/profiles.json"
  deletion_protection = true
}

run "table_is_the_schema_file" {
  module {
    source = "./modules/profiles"
  }

  assert {
    condition = (
      google_bigtable_table.profiles.name == jsondecode(file("../schemas/bigtable/profiles.json")).table &&
      toset(google_bigtable_table.profiles.column_family[*].family) == toset(keys(jsondecode(file("../schemas/bigtable/profiles.json")).families))
    )
    error_message = "The table needs the families of the schema file."
  }
  assert {
    condition = {
      for family, policy in google_bigtable_gc_policy.family : family => policy.gc_rules
      } == {
      for family, f in jsondecode(file("../schemas/bigtable/profiles.json")).families : family => (
        try(f.max_age_days, 0) > 0 && try(f.max_versions, 0) > 0
        ? "{\"mode\":\"union\",\"rules\":[{\"max_age\":\"${f.max_age_days * 24}h\"},{\"max_version\":${f.max_versions}}]}"
        : try(f.max_age_days, 0) > 0
        ? "{\"rules\":[{\"max_age\":\"${f.max_age_days * 24}h\"}]}"
        : "{\"rules\":[{\"max_version\":${try(f.max_versions, 0)}}]}"
      ) if try(f.max_age_days, 0) > 0 || try(f.max_versions, 0) > 0
    }
    error_message = "Garbage collection differs from the schema file."
  }
}

run "profiles_are_read_by_an_account_of_their_own" {
  module {
    source = "./modules/profiles"
  }

  assert {
    condition = (
      google_service_account.reader.account_id == "pixelbeam-profiles" &&
      google_bigtable_table_iam_member.reader.role == "roles/bigtable.reader" &&
      google_bigtable_table_iam_member.reader.table == google_bigtable_table.profiles.name
    )
    error_message = "The profile service reads the table of profiles, and has no other right."
  }
}

run "scales_and_is_protected" {
  module {
    source = "./modules/profiles"
  }

  assert {
    condition = (
      google_bigtable_instance.this.cluster[0].autoscaling_config[0].min_nodes == 1 &&
      google_bigtable_instance.this.cluster[0].autoscaling_config[0].max_nodes == 10 &&
      google_bigtable_instance.this.cluster[0].autoscaling_config[0].cpu_target == 60 &&
      google_bigtable_instance.this.cluster[0].zone == "europe-west1-b"
    )
    error_message = "The cluster has to scale by itself, in the job's region."
  }
  assert {
    condition     = google_bigtable_instance.this.deletion_protection && google_bigtable_table.profiles.deletion_protection == "PROTECTED"
    error_message = "Profiles have to resist terraform destroy."
  }
}
