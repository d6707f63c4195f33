variable "project" {
  description = "Project ID."
  type        = string
}

variable "name" {
  description = "Prefix of all names."
  type        = string
}

variable "location" {
  description = "BigQuery location."
  type        = string
}

variable "dataset" {
  description = "Dataset ID."
  type        = string
}

variable "schemas_dir" {
  description = "Folder of tables.json, table schemas and SQL files."
  type        = string
}

variable "deletion_protection" {
  description = "Whether tables resist being destroyed."
  type        = bool
}

variable "retention_days" {
  description = "Days after which a table's partitions are deleted, by table; a table that is not named keeps them."
  type        = map(number)
  default     = {}
}

variable "grouped" {
  description = "Whether the job writes impressions of groups of advertisers to tables of their own."
  type        = bool
  default     = false
}

variable "advertisers" {
  description = "Advertisers that get views of their own rows: the advertiser IDs in the pixel's adv parameter, and who may read (user:, group: or serviceAccount: and an address)."
  type = map(object({
    ids     = list(string)
    readers = list(string)
  }))
  default = {}
}

variable "hidden_columns" {
  description = "Columns of impressions that advertisers do not see."
  type        = list(string)
  default     = []
}
