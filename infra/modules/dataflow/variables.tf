variable "project" {
  description = "Project ID."
  type        = string
}

variable "region" {
  description = "Region of the workers."
  type        = string
}

variable "name" {
  description = "Name of the job and prefix of all names."
  type        = string
}

variable "labels" {
  description = "Labels of the job."
  type        = map(string)
  default     = {}
}

variable "template_image" {
  description = "Image of the Flex Template, with tag or digest; null launches no job."
  type        = string
}

variable "job_parameters" {
  description = "Further flags of the job, by name."
  type        = map(string)
  default     = {}
}

variable "advertiser_groups" {
  description = "Content of the file of advertisers' groups, whose impressions go to tables of their own; null is none."
  type        = string
  default     = null
}

variable "subscription" {
  description = "The job's subscription, projects/P/subscriptions/S."
  type        = string
}

variable "subscription_name" {
  description = "Short name of the job's subscription."
  type        = string
}

variable "topic_name" {
  description = "Short name of the topic that the subscription is of."
  type        = string
}

variable "dead_topic_name" {
  description = "Short name of the dead topic."
  type        = string
}

variable "pixel_paths" {
  description = "Request paths of the pixel."
  type        = list(string)
}

variable "dataset" {
  description = "Dataset as PROJECT.DATASET."
  type        = string
}

variable "dataset_id" {
  description = "Dataset ID."
  type        = string
}

variable "tables" {
  description = "Tables that the job writes."
  type        = list(string)
}

variable "bigtable_instance" {
  description = "Bigtable instance of the profiles."
  type        = string
}

variable "bigtable_table" {
  description = "Bigtable table of the profiles."
  type        = string
}

variable "machine_type" {
  description = "Machine type of the workers."
  type        = string
}

variable "num_workers" {
  description = "Workers at the start."
  type        = number
}

variable "max_workers" {
  description = "Most workers."
  type        = number
}

variable "subnetwork" {
  description = "Subnetwork of the workers, with Private Google Access; null makes a network."
  type        = string
  default     = null
}
