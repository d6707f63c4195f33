output "instance" {
  description = "Name of the instance."
  value       = google_bigtable_instance.this.name
}

output "table" {
  description = "Name of the table of profiles."
  value       = google_bigtable_table.profiles.name
}

output "reader_email" {
  description = "Account that may read profiles, and nothing else."
  value       = google_service_account.reader.email
}
