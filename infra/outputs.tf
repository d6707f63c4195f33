output "pixel_url" {
  description = "The pixel."
  value       = "https://${var.domains[0]}${var.pixel_paths[0]}"
}

output "tag" {
  description = "The tag for pages and ads. Your ad server puts values in place of the words in capitals; cb has to differ for each impression."
  value       = "<img src=\"https://${var.domains[0]}${var.pixel_paths[0]}?adv=ADVERTISER&cid=CAMPAIGN&crid=CREATIVE&pl=PLACEMENT&uid=USER&url=PAGE&w=300&h=250&cb=RANDOM\" width=\"1\" height=\"1\" alt=\"\">"
}

output "addresses" {
  description = "IPv4 and IPv6 address of the pixel."
  value       = module.edge.addresses
}

output "dns_records" {
  description = "Records that the domains need. With dns_zone they are made."
  value = flatten([
    for domain in var.domains : [
      "${domain}. 300 IN A ${module.edge.addresses["IPV4"]}",
      "${domain}. 300 IN AAAA ${module.edge.addresses["IPV6"]}",
    ]
  ])
}

output "subscription" {
  description = "Subscription that the job reads."
  value       = module.ingest.subscription
}

output "archive_bucket" {
  description = "Bucket with every request, as Cloud Logging exports it: gs://BUCKET/requests/YYYY/MM/DD/."
  value       = module.ingest.archive_bucket
}

output "dataset" {
  description = "Dataset of the tables, PROJECT.DATASET."
  value       = module.warehouse.dataset
}

output "bigtable_instance" {
  description = "Bigtable instance of the profiles."
  value       = module.profiles.instance
}

output "profile_reader" {
  description = "Account for pixelctl serve-profiles, or for ad servers: it may read profiles."
  value       = module.profiles.reader_email
}

output "image_repository" {
  description = "Where the Flex Template's image is pushed."
  value       = module.dataflow.image_repository
}

output "job_id" {
  description = "ID of the running job; null as long as there is no template_image."
  value       = module.dataflow.job_id
}

output "next" {
  description = "What to do next, as commands."
  value = join("\n", concat(
    var.dns_zone == null ? ["# Make the records of: terraform output dns_records"] : [],
    [
      "# Until this says ACTIVE (up to an hour after DNS points here) https does not answer:",
      "gcloud compute ssl-certificates describe ${module.edge.certificate} --global --project=${var.project} --format='value(managed.status)'",
      "# A GIF with Cache-Control: no-cache, no-store, must-revalidate:",
      "curl -si 'https://${var.domains[0]}${var.pixel_paths[0]}?adv=test&cb=1' | head -n 12",
    ],
    var.template_image == null ? [
      "# Build and push the template's image to ${module.dataflow.image_repository}:TAG (docs/launch.md), then",
      "terraform apply -var template_image=${module.dataflow.image_repository}:TAG",
      ] : [
      "# Running, and not Failed:",
      "gcloud dataflow jobs list --project=${var.project} --region=${var.region} --filter=name=${module.dataflow.job_name} --limit=1",
      "# A row for the request above, after a minute at most:",
      "pixelctl query --project=${var.project} --dataset=${module.warehouse.dataset_id} \"SELECT event_time, advertiser_id, browser FROM impressions WHERE advertiser_id = 'test' ORDER BY event_time DESC LIMIT 5\"",
    ],
  ))
}
