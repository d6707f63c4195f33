variable "project" {
  description = "Project ID."
  type        = string
}

variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "requests_filter" {
  description = "Log filter of all requests to the pixel's load balancer."
  type        = string
}

variable "impressions_filter" {
  description = "Log filter of what goes to the job."
  type        = string
}

variable "sinks" {
  description = "Names of the log sinks."
  type        = list(string)
}

variable "subscription_name" {
  description = "Short name of the job's subscription."
  type        = string
}

variable "job_name" {
  description = "Name of the Dataflow job."
  type        = string
}

variable "bigtable_instance" {
  description = "Bigtable instance of the profiles."
  type        = string
}

variable "emails" {
  description = "Addresses that alerts are sent to."
  type        = list(string)
}

variable "limits" {
  description = "When alerts fire; the root module's variable of this name describes them."
  type = object({
    oldest_unacked_seconds = number
    system_lag_seconds     = number
    silence_seconds        = number
    rejected_share         = number
    lost_share             = number
    worker_errors          = number
    imbalance              = number
  })
}

variable "billing_account" {
  description = "Billing account of the budget; null makes none."
  type        = string
  default     = null
}

variable "budget" {
  description = "Monthly budget."
  type = object({
    amount   = number
    currency = string
  })
}
