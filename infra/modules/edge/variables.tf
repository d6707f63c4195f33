variable "project" {
  description = "Project ID."
  type        = string
}

variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "location" {
  description = "Location of the bucket: a region or multi-region. The CDN answers, so it hardly matters."
  type        = string
}

variable "domains" {
  description = "Host names that serve the pixel."
  type        = list(string)
}

variable "dns_zone" {
  description = "Name of a Cloud DNS zone for the A and AAAA records; null makes none."
  type        = string
  default     = null
}

variable "http" {
  description = "Whether port 80 answers too."
  type        = bool
  default     = true
}

variable "pixel_paths" {
  description = "Request paths of the pixel."
  type        = list(string)
}

variable "edge_security_policy" {
  description = "Cloud Armor edge security policy (self link) in front of the CDN; null is none."
  type        = string
  default     = null
}
