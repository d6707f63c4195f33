# Workers have no public addresses: a network of their own, from which Google's
# services are reached privately, unless one is given.

resource "google_compute_network" "workers" {
  count = var.subnetwork == null ? 1 : 0

  project                 = var.project
  name                    = "${var.name}-workers"
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "workers" {
  count = var.subnetwork == null ? 1 : 0

  project                  = var.project
  region                   = var.region
  name                     = "${var.name}-workers"
  network                  = google_compute_network.workers[0].id
  ip_cidr_range            = "10.128.0.0/20" # 4,092 workers
  private_ip_google_access = true
}

# Workers talk to each other on these ports, and to nobody else.
resource "google_compute_firewall" "workers" {
  count = var.subnetwork == null ? 1 : 0

  project     = var.project
  name        = "${var.name}-workers"
  network     = google_compute_network.workers[0].id
  direction   = "INGRESS"
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}
