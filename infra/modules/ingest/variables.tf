variable "project" {
  description = "Project ID."
  type        = string
}

variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "url_map_name" {
  description = "Name of the pixel's URL map."
  type        = string
}

variable "pixel_paths" {
  description = "Request paths of the pixel, as the job's --pixel_paths."
  type        = list(string)
}

variable "archive_location" {
  description = "Location of the archive bucket."
  type        = string
}

variable "archive_days" {
  description = "Age in days at which archived files are deleted."
  type        = number
}
