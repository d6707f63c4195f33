# The pixel: a public image in a bucket, answered by Cloud CDN, requested anew by
# every browser, and logged by the load balancer for every request.

locals {
  # A PNG if the path ends in .png, else a GIF: a pixel's path need have no extension.
  images = {
    for pixel in var.pixel_paths : pixel => {
      source       = endswith(lower(pixel), ".png") ? "${path.module}/pixel.png" : "${path.module}/pixel.gif"
      content_type = endswith(lower(pixel), ".png") ? "image/png" : "image/gif"
    }
  }

  # Browsers must not keep the pixel: a kept pixel is an impression that nobody hears of.
  cache_control = "no-cache, no-store, must-revalidate"

  listeners = merge([
    for version in ["IPV4", "IPV6"] : merge(
      { "https-${lower(version)}" = { version = version, port = "443", https = true } },
      var.http ? { "http-${lower(version)}" = { version = version, port = "80", https = false } } : {},
    )
  ]...)
}

resource "google_storage_bucket" "pixel" {
  project                     = var.project
  name                        = "${var.project}-${var.name}-pixel"
  location                    = var.location
  uniform_bucket_level_access = true
  # The one public bucket. Everything else here enforces prevention.
  public_access_prevention = "inherited"
  force_destroy            = true
}

resource "google_storage_bucket_object" "pixel" {
  for_each = local.images

  bucket        = google_storage_bucket.pixel.name
  name          = trimprefix(each.key, "/")
  source        = each.value.source
  content_type  = each.value.content_type
  cache_control = local.cache_control
}

# Read an object by its name, and nothing else: no listing, no writing.
resource "google_storage_bucket_iam_member" "public" {
  bucket = google_storage_bucket.pixel.name
  role   = "roles/storage.legacyObjectReader"
  member = "allUsers"
}

# The cache key of a backend bucket ignores host and query string, so one cached
# object answers every pixel URL.
resource "google_compute_backend_bucket" "pixel" {
  project     = var.project
  name        = "${var.name}-pixel"
  description = "The advertising pixel; each request is a log entry"
  bucket_name = google_storage_bucket.pixel.name
  enable_cdn  = true

  edge_security_policy = var.edge_security_policy

  custom_response_headers = [
    "Cache-Control: ${local.cache_control}",
    # Pages that isolate themselves load images of other origins only with this.
    "Cross-Origin-Resource-Policy: cross-origin",
  ]

  cdn_policy {
    cache_mode         = "FORCE_CACHE_ALL"
    default_ttl        = 31536000 # at the edge: a year
    client_ttl         = 0        # in browsers: not at all
    serve_while_stale  = 0
    request_coalescing = false
    negative_caching   = true
  }
}

# Pixel and nothing else: what the bucket does not hold is its 404. Port 80 is
# answered and not redirected, as a redirect made by the load balancer is not logged.
resource "google_compute_url_map" "pixel" {
  project         = var.project
  name            = var.name
  description     = "The advertising pixel"
  default_service = google_compute_backend_bucket.pixel.id
}

# A certificate cannot change its domains, so its name follows them and the new one
# is made before the old one goes.
resource "google_compute_managed_ssl_certificate" "pixel" {
  project = var.project
  name    = "${var.name}-${substr(sha256(join(",", sort(var.domains))), 0, 8)}"

  managed {
    domains = var.domains
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "pixel" {
  project         = var.project
  name            = var.name
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
}

resource "google_compute_target_https_proxy" "pixel" {
  project          = var.project
  name             = "${var.name}-https"
  url_map          = google_compute_url_map.pixel.id
  ssl_certificates = [google_compute_managed_ssl_certificate.pixel.id]
  ssl_policy       = google_compute_ssl_policy.pixel.id
}

resource "google_compute_target_http_proxy" "pixel" {
  count = var.http ? 1 : 0

  project = var.project
  name    = "${var.name}-http"
  url_map = google_compute_url_map.pixel.id
}

resource "google_compute_global_address" "pixel" {
  for_each = toset(["IPV4", "IPV6"])

  project    = var.project
  name       = "${var.name}-${lower(each.key)}"
  ip_version = each.key
}

resource "google_compute_global_forwarding_rule" "pixel" {
  for_each = local.listeners

  project               = var.project
  name                  = "${var.name}-${each.key}"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_protocol           = "TCP"
  ip_address            = google_compute_global_address.pixel[each.value.version].id
  port_range            = each.value.port
  target = (each.value.https
    ? google_compute_target_https_proxy.pixel.id
    : google_compute_target_http_proxy.pixel[0].id
  )
}

data "google_dns_managed_zone" "pixel" {
  count = var.dns_zone == null ? 0 : 1

  project = var.project
  name    = var.dns_zone
}

resource "google_dns_record_set" "pixel" {
  for_each = var.dns_zone == null ? {} : {
    for pair in setproduct(var.domains, ["IPV4", "IPV6"]) :
    "${pair[0]} ${pair[1]}" => { domain = pair[0], version = pair[1] }
  }

  project      = var.project
  managed_zone = data.google_dns_managed_zone.pixel[0].name
  name         = "${each.value.domain}."
  type         = each.value.version == "IPV4" ? "A" : "AAAA"
  ttl          = 300
  rrdatas      = [google_compute_global_address.pixel[each.value.version].address]
}
