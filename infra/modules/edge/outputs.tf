output "url_map_name" {
  description = "Name of the URL map, by which log entries are told apart."
  value       = google_compute_url_map.pixel.name
}

output "addresses" {
  description = "Addresses of the pixel, by IP version."
  value       = { for version, address in google_compute_global_address.pixel : version => address.address }
}

output "bucket" {
  description = "Bucket of the pixel's images."
  value       = google_storage_bucket.pixel.name
}

output "certificate" {
  description = "Name of the managed certificate."
  value       = google_compute_managed_ssl_certificate.pixel.name
}
