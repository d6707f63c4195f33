output "job_name" {
  description = "Name of the job, whether it runs or not."
  value       = var.name
}

output "job_id" {
  description = "ID of the running job; null without template_image."
  value       = one(google_dataflow_flex_template_job.this[*].job_id)
}

output "image_repository" {
  description = "Where the Flex Template's image is pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/pixelbeam"
}

output "staging_bucket" {
  description = "Bucket of staged and temporary files and template specs."
  value       = google_storage_bucket.staging.name
}

output "worker_email" {
  description = "Account of the workers."
  value       = google_service_account.worker.email
}

output "subnetwork" {
  description = "Subnetwork of the workers."
  value       = local.subnetwork
}

output "spec" {
  description = "URL of the template spec; null without template_image."
  value       = one([for spec in google_storage_bucket_object.spec : "gs://${spec.bucket}/${spec.name}"])
}
