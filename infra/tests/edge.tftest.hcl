# The pixel is asked for again by every browser, answered by the cache, and public
# for reading only.

mock_provider "google" {}

variables {
  project     = "example-project"
  name        = "pixelbeam"
  location    = "europe-west1"
  domains     = ["pixel.example.com", "px.example.net"]
  pixel_paths = ["/pixel.gif", "/pixel.png", "/p.gif", "/a/b"]
}

run "browsers_ask_again" {
  module {
    source = "./modules/edge"
  }

  assert {
    condition = (
      google_compute_backend_bucket.pixel.enable_cdn &&
      google_compute_backend_bucket.pixel.cdn_policy[0].cache_mode == "FORCE_CACHE_ALL" &&
      google_compute_backend_bucket.pixel.cdn_policy[0].client_ttl == 0 &&
      google_compute_backend_bucket.pixel.cdn_policy[0].default_ttl >= 86400
    )
    error_message = "The edge has to keep the pixel, and browsers must not."
  }
  assert {
    condition     = contains(google_compute_backend_bucket.pixel.custom_response_headers, "Cache-Control: no-cache, no-store, must-revalidate")
    error_message = "Every response has to forbid browsers to keep the pixel."
  }
  assert {
    condition     = alltrue([for o in google_storage_bucket_object.pixel : o.cache_control == "no-cache, no-store, must-revalidate"])
    error_message = "The objects too have to forbid browsers to keep them."
  }
  assert {
    condition = (
      google_compute_backend_bucket.pixel.cdn_policy[0].serve_while_stale == 0 &&
      google_compute_backend_bucket.pixel.cdn_policy[0].request_coalescing == false
    )
    error_message = "Stale answers and coalesced requests are not wanted."
  }
  assert {
    condition     = length(google_compute_backend_bucket.pixel.cdn_policy[0].cache_key_policy) == 0
    error_message = "The query must not be part of the cache key: each impression has another one."
  }
}

run "images" {
  module {
    source = "./modules/edge"
  }

  assert {
    condition = {
      for path, o in google_storage_bucket_object.pixel : path => "${o.name} ${o.content_type} ${basename(o.source)}"
      } == {
      "/pixel.gif" = "pixel.gif image/gif pixel.gif"
      "/pixel.png" = "pixel.png image/png pixel.png"
      "/p.gif"     = "p.gif image/gif pixel.gif"
      "/a/b"       = "a/b image/gif pixel.gif"
    }
    error_message = "Each path has to be an object with its image."
  }
  assert {
    condition = (
      filesha256(google_storage_bucket_object.pixel["/p.gif"].source) == "693d949d8c3fdc7fd4ace7c340b5f177a9f0c5be7bafee8bc93a7d88b7523d75" &&
      filesha256(google_storage_bucket_object.pixel["/pixel.png"].source) == "c5cf4103a1622727f9762532fd1b1ec63299363ab6170417a9d302bab7d25c94"
    )
    error_message = "The images are not the transparent 1x1 GIF and PNG any more."
  }
}

run "public_for_reading_only" {
  module {
    source = "./modules/edge"
  }

  assert {
    condition = (
      google_storage_bucket_iam_member.public.member == "allUsers" &&
      google_storage_bucket_iam_member.public.role == "roles/storage.legacyObjectReader" &&
      google_storage_bucket.pixel.uniform_bucket_level_access
    )
    error_message = "The public may read objects by name, and nothing else."
  }
  # Wherever else the public were let in, it would have to be named.
  assert {
    condition = length(flatten([
      for name in setunion(fileset(".", "*.tf"), fileset(".", "modules/**/*.tf")) :
      regexall("\"(?:${google_storage_bucket_iam_member.public.member}|allAuthenticatedUsers)\"|_acl\"|access_control\"", file(name))
    ])) == 1
    error_message = "Something else is open to the public."
  }
}

run "reached_by_both_protocols" {
  module {
    source = "./modules/edge"
  }

  assert {
    condition = {
      for key, rule in google_compute_global_forwarding_rule.pixel : key => "${rule.port_range} ${rule.load_balancing_scheme}"
      } == {
      "https-ipv4" = "443 EXTERNAL_MANAGED"
      "https-ipv6" = "443 EXTERNAL_MANAGED"
      "http-ipv4"  = "80 EXTERNAL_MANAGED"
      "http-ipv6"  = "80 EXTERNAL_MANAGED"
    }
    error_message = "IPv4 and IPv6 have to listen on 80 and 443."
  }
  assert {
    condition = (
      google_compute_global_forwarding_rule.pixel["https-ipv6"].ip_address == google_compute_global_address.pixel["IPV6"].id &&
      google_compute_global_forwarding_rule.pixel["https-ipv6"].target == google_compute_target_https_proxy.pixel.id &&
      google_compute_global_forwarding_rule.pixel["http-ipv4"].target == google_compute_target_http_proxy.pixel[0].id
    )
    error_message = "A listener has the wrong address or proxy."
  }
  assert {
    condition     = length(google_compute_url_map.pixel.default_url_redirect) == 0 && google_compute_target_http_proxy.pixel[0].url_map == google_compute_url_map.pixel.id
    error_message = "Port 80 has to serve the pixel: a redirect is not logged."
  }
  assert {
    condition     = length(google_dns_record_set.pixel) == 0
    error_message = "Without dns_zone there are no records."
  }
}

run "dns" {
  module {
    source = "./modules/edge"
  }
  variables {
    dns_zone = "example-com"
    http     = false
  }

  assert {
    condition = toset([for r in google_dns_record_set.pixel : "${r.name} ${r.type}"]) == toset([
      "pixel.example.com. A", "pixel.example.com. AAAA", "px.example.net. A", "px.example.net. AAAA",
    ])
    error_message = "Each domain needs an A and an AAAA record."
  }
  assert {
    condition     = google_dns_record_set.pixel["pixel.example.com IPV6"].rrdatas == tolist([google_compute_global_address.pixel["IPV6"].address])
    error_message = "The AAAA record has to hold the IPv6 address."
  }
  assert {
    condition     = sort(keys(google_compute_global_forwarding_rule.pixel)) == tolist(["https-ipv4", "https-ipv6"])
    error_message = "Without http, port 80 is closed."
  }
}
