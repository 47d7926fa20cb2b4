# For tests only: seal, swap policies, look at everything. The product never gets this role.

path "*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
