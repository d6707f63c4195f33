variable "project" {
  description = "Project ID."
  type        = string
}

variable "name" {
  description = "Name of the instance."
  type        = string
}

variable "zone" {
  description = "Zone of the cluster, in the job's region."
  type        = string
}

variable "min_nodes" {
  description = "Fewest nodes."
  type        = number
}

variable "max_nodes" {
  description = "Most nodes."
  type        = number
}

variable "cpu_target" {
  description = "CPU load in percent that the autoscaler aims at."
  type        = number
}

variable "schema_file" {
  description = "File that describes the table: name, families, age and versions."
  type        = string
}

variable "deletion_protection" {
  description = "Whether instance and table resist being destroyed."
  type        = bool
}
