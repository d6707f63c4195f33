# One Bigtable row per user. Families and their garbage collection are those of
# schemas/bigtable/profiles.json, which the program reads too.

locals {
  schema = jsondecode(file(var.schema_file))

  # A cell goes when it is too old or when newer versions of it are enough. As JSON, so
  # that numbers stay numbers in a list with strings.
  rules = {
    for family, f in local.schema.families : family => concat(
      try(f.max_age_days, 0) > 0 ? [jsonencode({ max_age = "${f.max_age_days * 24}h" })] : [],
      try(f.max_versions, 0) > 0 ? [jsonencode({ max_version = f.max_versions })] : [],
    )
  }
}

resource "google_bigtable_instance" "this" {
  project             = var.project
  name                = var.name
  display_name        = var.name
  deletion_protection = var.deletion_protection

  cluster {
    cluster_id   = "${var.name}-c1"
    zone         = var.zone
    storage_type = "SSD"

    autoscaling_config {
      min_nodes  = var.min_nodes
      max_nodes  = var.max_nodes
      cpu_target = var.cpu_target
    }
  }

  lifecycle {
    # The autoscaler decides.
    ignore_changes = [cluster[0].num_nodes]
  }
}

resource "google_bigtable_table" "profiles" {
  project             = var.project
  instance_name       = google_bigtable_instance.this.name
  name                = local.schema.table
  deletion_protection = var.deletion_protection ? "PROTECTED" : "UNPROTECTED"

  # Keys begin with four hex digits of a hash, so that a new table can be busy on
  # several nodes from its first minute.
  split_keys = ["2", "4", "6", "8", "a", "c", "e"]

  dynamic "column_family" {
    for_each = local.schema.families
    content {
      family = column_family.key
    }
  }
}

resource "google_bigtable_gc_policy" "family" {
  for_each = { for family, rules in local.rules : family => rules if length(rules) > 0 }

  project       = var.project
  instance_name = google_bigtable_instance.this.name
  table         = google_bigtable_table.profiles.name
  column_family = each.key

  gc_rules = (length(each.value) == 1
    ? jsonencode({ rules = [jsondecode(each.value[0])] })
    : jsonencode({ mode = "union", rules = [for rule in each.value : jsondecode(rule)] })
  )
}
