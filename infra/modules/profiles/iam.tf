# Who reads profiles: pixelctl serve-profiles, or an ad server with package profiles. It
# reads this one table and may do nothing else.

resource "google_service_account" "reader" {
  project      = var.project
  account_id   = "${var.name}-profiles"
  display_name = "Pixelbeam profile service"
}

resource "google_bigtable_table_iam_member" "reader" {
  project       = var.project
  instance_name = google_bigtable_instance.this.name
  table         = google_bigtable_table.profiles.name
  role          = "roles/bigtable.reader"
  member        = google_service_account.reader.member
}
