# Needed

variable "project" {
  description = "Project ID in which everything is made."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is not a project ID: give 6 to 30 lower-case letters, digits and hyphens that begin with a letter (the ID, not the number or the name)."
  }
}

variable "region" {
  description = "Region of the job, Bigtable and the buckets, such as europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is not a region: give one such as europe-west1 (a zone has a letter after it)."
  }
}

variable "domains" {
  description = "Host names that serve the pixel, such as pixel.example.com; they share a managed certificate."
  type        = list(string)

  validation {
    condition     = length(var.domains) >= 1 && length(var.domains) <= 100
    error_message = "domains has to name 1 to 100 hosts, as a managed certificate holds no more."
  }
  validation {
    condition = alltrue([
      for domain in var.domains :
      can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", domain))
    ])
    error_message = "domains holds something other than a lower-case host name without scheme, port and trailing dot (managed certificates allow no wildcard)."
  }
}

# Names

variable "name" {
  description = "Prefix of all names, and the name of the job."
  type        = string
  default     = "pixelbeam"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,18}[a-z0-9]$", var.name))
    error_message = "name has to be 6 to 20 lower-case letters, digits and hyphens that begin with a letter, so that all names made of it are allowed."
  }
}

variable "labels" {
  description = "Labels of everything that takes labels, beside app."
  type        = map(string)
  default     = {}

  validation {
    condition = alltrue([
      for key, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "labels holds a key or value that Google Cloud does not take: give lower-case letters, digits, _ and -, at most 63, keys beginning with a letter."
  }
}

# The pixel

variable "pixel_paths" {
  description = "Request paths of the pixel, also the job's --pixel_paths. A path that ends in .png is a PNG, any other a GIF."
  type        = list(string)
  default     = ["/pixel.gif", "/pixel.png", "/p.gif"]

  validation {
    condition     = length(var.pixel_paths) > 0 && length(var.pixel_paths) == length(distinct(var.pixel_paths))
    error_message = "pixel_paths has to hold at least one path, and none twice."
  }
  validation {
    condition     = alltrue([for pixel in var.pixel_paths : can(regex("^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$", pixel))])
    error_message = "pixel_paths holds a path that cannot be the name of an object and need no escaping: give paths such as /pixel.gif, of letters, digits, . _ ~ - and single slashes, none at the end."
  }
}

variable "http" {
  description = "Whether port 80 answers too. It serves the pixel and does not redirect: a redirect made by the load balancer is not logged."
  type        = bool
  default     = true
}

variable "dns_zone" {
  description = "Name of a Cloud DNS zone in this project for the A and AAAA records of all domains; null makes no records (the output dns_records says which are needed)."
  type        = string
  default     = null

  validation {
    condition     = var.dns_zone == null || can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", var.dns_zone))
    error_message = "dns_zone is not the name of a zone: give its name in Cloud DNS, such as example-com, not its domain."
  }
}

variable "edge_security_policy" {
  description = "Cloud Armor edge security policy in front of the CDN, as its self link; null is none."
  type        = string
  default     = null

  validation {
    condition     = var.edge_security_policy == null || can(regex("/securityPolicies/[^/]+$", var.edge_security_policy))
    error_message = "edge_security_policy is not the self link of a security policy: give .../securityPolicies/NAME, of the type CLOUD_ARMOR_EDGE."
  }
}

# Archive and tables

variable "archive_days" {
  description = "Age in days at which archived log files are deleted. They hold full client addresses."
  type        = number
  default     = 400

  validation {
    condition     = var.archive_days >= 90 && floor(var.archive_days) == var.archive_days
    error_message = "archive_days has to be a whole number of days, at least 90, as COLDLINE storage charges for 90 days whatever happens."
  }
}

variable "dataset" {
  description = "BigQuery dataset."
  type        = string
  default     = "pixelbeam"

  validation {
    condition     = can(regex("^[A-Za-z0-9_]{1,900}$", var.dataset))
    error_message = "dataset is not a dataset ID: give letters, digits and underscores."
  }
}

variable "bigquery_location" {
  description = "Location of the datasets, such as EU, US or a region; null is the region of the job. It cannot be changed later."
  type        = string
  default     = null

  validation {
    condition     = var.bigquery_location == null || can(regex("^(EU|US|[a-z]+-[a-z]+[0-9]+)$", var.bigquery_location))
    error_message = "bigquery_location is no location: give EU, US or a region such as europe-west1."
  }
}

variable "retention_days" {
  description = "Days after which a table's partitions are deleted, by table, such as { impressions = 400 }; a table that is not named keeps them."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for days in values(var.retention_days) : days >= 1 && floor(days) == days])
    error_message = "retention_days has to hold whole numbers of days, at least 1."
  }
  validation {
    condition = alltrue([
      for table in keys(var.retention_days) :
      contains(keys(jsondecode(file("${path.module}/../schemas/bigquery/tables.json"))), table)
    ])
    error_message = "retention_days names a table that is not in schemas/bigquery/tables.json."
  }
  validation {
    condition     = try(var.retention_days["impression_counts"], 21) >= 21
    error_message = "retention_days has to keep impression_counts for at least 21 days: weekly_rollup sums the last two whole weeks of it."
  }
}

variable "deletion_protection" {
  description = "Whether tables, their dataset, and Bigtable resist terraform destroy."
  type        = bool
  default     = true
}

variable "advertiser_groups_file" {
  description = "CSV file with lines ADVERTISER,GROUP: impressions of these advertisers go to tables impressions_for_GROUP, which the job makes (its --table_suffix_by=advertiser); null writes all to impressions."
  type        = string
  default     = null

  validation {
    condition     = var.advertiser_groups_file == null || can(file(var.advertiser_groups_file))
    error_message = "advertiser_groups_file cannot be read: give the path of a CSV file."
  }
}

variable "advertisers" {
  description = "Advertisers that get a dataset with views of their own rows, by a name for the dataset: the IDs that their pixels carry in adv, and who may read (user:, group: or serviceAccount: and an address)."
  type = map(object({
    ids     = list(string)
    readers = optional(list(string), [])
  }))
  default = {}

  validation {
    condition     = alltrue([for name in keys(var.advertisers) : can(regex("^[a-z0-9_]{1,100}$", name))])
    error_message = "advertisers has a name that cannot end a dataset ID: give lower-case letters, digits and underscores."
  }
  validation {
    condition = alltrue([
      for a in values(var.advertisers) :
      length(a.ids) > 0 && alltrue([for id in a.ids : can(regex("^[A-Za-z0-9._:@/+=-]+$", id))])
    ])
    error_message = "advertisers needs at least one ID each, of letters, digits and . _ : @ / + = - (they are written into SQL)."
  }
  validation {
    condition = alltrue(flatten([
      for a in values(var.advertisers) :
      [for reader in a.readers : can(regex("^(user|group|serviceAccount):[^@:\\s]+@[^@:\\s]+$", reader))]
    ]))
    error_message = "advertisers has a reader that is not user:, group: or serviceAccount: and an address; allUsers and allAuthenticatedUsers are not taken."
  }
}

variable "advertiser_hidden_columns" {
  description = "Columns of impressions that advertisers do not see."
  type        = list(string)
  default     = ["ip", "user_agent"]

  validation {
    condition = alltrue([
      for column in var.advertiser_hidden_columns :
      contains(jsondecode(file("${path.module}/../schemas/bigquery/impressions.json"))[*].name, column)
    ])
    error_message = "advertiser_hidden_columns names a column that is not in schemas/bigquery/impressions.json."
  }
}

# Profiles

variable "zone" {
  description = "Zone of the Bigtable cluster; null is zone b of the region."
  type        = string
  default     = null

  validation {
    condition     = var.zone == null || startswith(coalesce(var.zone, "-"), "${var.region}-")
    error_message = "zone is not in the region: a cluster elsewhere makes every profile slower and its traffic cost money."
  }
}

variable "bigtable_nodes" {
  description = "Autoscaling of the Bigtable cluster: fewest and most nodes, and the CPU load in percent that is aimed at."
  type = object({
    min        = optional(number, 1)
    max        = optional(number, 10)
    cpu_target = optional(number, 60)
  })
  default = {}

  validation {
    condition     = var.bigtable_nodes.min >= 1 && var.bigtable_nodes.max >= var.bigtable_nodes.min && var.bigtable_nodes.max <= 10 * var.bigtable_nodes.min
    error_message = "bigtable_nodes needs 1 <= min <= max <= 10 * min, which is as far as Bigtable scales."
  }
  validation {
    condition     = var.bigtable_nodes.cpu_target >= 10 && var.bigtable_nodes.cpu_target <= 80
    error_message = "bigtable_nodes.cpu_target has to be between 10 and 80 (percent)."
  }
}

# The job

variable "template_image" {
  description = "Image of the Flex Template with tag or digest, as pushed to the output image_repository; null makes everything but the job."
  type        = string
  default     = null

  validation {
    condition     = var.template_image == null || can(regex("^[a-z0-9.-]+/[^:@]+(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$", var.template_image))
    error_message = "template_image has to name an image with a tag or a digest, such as REGION-docker.pkg.dev/PROJECT/pixelbeam/pixelbeam:v1."
  }
  validation {
    condition     = var.template_image == null || !endswith(coalesce(var.template_image, "-"), ":latest")
    error_message = "template_image has the tag latest, under which a new image would not be noticed: give a tag of its own or a digest."
  }
}

variable "job_parameters" {
  description = "Further flags of the job, such as { allowed_lateness = \"20m\", shards = \"64\" }; see pixelbeam --help."
  type        = map(string)
  default     = {}

  validation {
    condition = length(setintersection(keys(var.job_parameters), [
      "subscription", "topic", "input", "pixel_paths", "bigquery_dataset", "bigtable_instance", "bigtable_table",
    ])) == 0
    error_message = "job_parameters sets a flag that other variables set (or that a streaming job does not take): subscription, topic, input, pixel_paths, bigquery_dataset, bigtable_instance, bigtable_table."
  }
  validation {
    condition = alltrue([
      for name in keys(var.job_parameters) :
      contains(jsondecode(file("${path.module}/modules/dataflow/metadata.json")).parameters[*].name, name)
    ])
    error_message = "job_parameters names a flag that the template does not have: modules/dataflow/metadata.json lists them."
  }
}

variable "workers" {
  description = "Workers of the job: machine type, how many at the start, and the most."
  type = object({
    machine_type = optional(string, "n2d-standard-4")
    start        = optional(number, 1)
    max          = optional(number, 20)
  })
  default = {}

  validation {
    condition     = var.workers.start >= 1 && var.workers.max >= var.workers.start && var.workers.max <= 4000
    error_message = "workers needs 1 <= start <= max <= 4000."
  }
}

variable "subnetwork" {
  description = "Subnetwork of the workers (self link, or regions/REGION/subnetworks/NAME) with Private Google Access; null makes a network for them."
  type        = string
  default     = null

  validation {
    condition     = var.subnetwork == null || can(regex("regions/[^/]+/subnetworks/[^/]+$", var.subnetwork))
    error_message = "subnetwork has to be a self link or regions/REGION/subnetworks/NAME."
  }
}

# Watching

variable "alert_emails" {
  description = "Addresses that alerts and the budget are sent to. Without one, alerts only show in the console."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "alert_emails holds something that is not a mail address."
  }
}

variable "limits" {
  description = <<-EOT
    When alerts fire:
    oldest_unacked_seconds  age of the oldest request that waits in Pub/Sub
    system_lag_seconds      how long data has waited inside the job
    silence_seconds         no pixel request at all for so long
    rejected_share          rejected entries of those read, over 10 minutes, 0 to 1
    lost_share              entries exported but not read, over an hour, 0 to 1
    worker_errors           errors in the job's logs, in 5 minutes
    imbalance               entries by which the books may differ, as counters are exported a moment apart
  EOT
  type = object({
    oldest_unacked_seconds = optional(number, 600)
    system_lag_seconds     = optional(number, 300)
    silence_seconds        = optional(number, 900)
    rejected_share         = optional(number, 0.01)
    lost_share             = optional(number, 0.01)
    worker_errors          = optional(number, 100)
    imbalance              = optional(number, 10000)
  })
  default = {}

  validation {
    condition     = alltrue([for share in [var.limits.rejected_share, var.limits.lost_share] : share > 0 && share < 1])
    error_message = "limits.rejected_share and limits.lost_share are shares: give numbers between 0 and 1, such as 0.01."
  }
  validation {
    condition     = var.limits.oldest_unacked_seconds >= 60 && var.limits.system_lag_seconds >= 60
    error_message = "limits.oldest_unacked_seconds and limits.system_lag_seconds have to be at least 60: a healthy job takes that long at times."
  }
  validation {
    condition     = var.limits.silence_seconds >= 180 && var.limits.silence_seconds <= 84600 && var.limits.silence_seconds % 60 == 0
    error_message = "limits.silence_seconds has to be a multiple of 60 between 180 and 84600 (23.5 hours), as Cloud Monitoring takes it."
  }
  validation {
    condition     = var.limits.worker_errors >= 0 && var.limits.imbalance >= 0
    error_message = "limits.worker_errors and limits.imbalance cannot be negative."
  }
}

variable "billing_account" {
  description = "Billing account of the budget alert, such as 012345-6789AB-CDEF01; null makes no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "billing_account is not the ID of a billing account: give one such as 012345-6789AB-CDEF01 (gcloud billing accounts list)."
  }
}

variable "budget" {
  description = "Monthly budget of the project in whole units of the billing account's currency. pixelctl cost says what to expect."
  type = object({
    amount   = optional(number, 1000)
    currency = optional(string, "USD")
  })
  default = {}

  validation {
    condition     = var.budget.amount >= 1 && floor(var.budget.amount) == var.budget.amount && can(regex("^[A-Z]{3}$", var.budget.currency))
    error_message = "budget needs a whole amount of at least 1 and a currency code such as USD."
  }
}
