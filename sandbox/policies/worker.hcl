# The workers: they rotate keys. They write new secrets and destroy old ones, by name, never by a
# wildcard over many; they can overwrite nothing ("create" without "update").

path "keyvault/data/keys/+" {
  capabilities = ["create", "read"]
}

path "keyvault/data/accounts/+" {
  capabilities = ["read"]
}

path "keyvault/data/webhooks/+" {
  capabilities = ["read"]
}

path "keyvault/data/probe/+" {
  capabilities = ["create", "read"]
}

# The mark that tells a restored Vault or database; the one path that is written over, in turn.
path "keyvault/data/epoch/mark" {
  capabilities = ["create", "read", "update"]
}

path "keyvault/destroy/keys/+" {
  capabilities = ["update"]
}

path "keyvault/destroy/probe/+" {
  capabilities = ["update"]
}

# Of management credentials, those that were replaced.
path "keyvault/destroy/accounts/+" {
  capabilities = ["update"]
}

path "keyvault/destroy/webhooks/+" {
  capabilities = ["update"]
}

path "keyvault/metadata/keys/" {
  capabilities = ["read", "list"]
}

path "keyvault/metadata/keys/+" {
  capabilities = ["read", "delete"]
}

path "keyvault/metadata/accounts/+" {
  capabilities = ["delete"]
}

path "keyvault/metadata/webhooks/+" {
  capabilities = ["delete"]
}

path "keyvault/metadata/probe/+" {
  capabilities = ["delete"]
}

# Signs the audit log's head, where AUDIT_TRANSIT_KEY says so; the key itself never leaves Vault.
path "transit/sign/keyvault-audit" {
  capabilities = ["update"]
}

path "transit/keys/keyvault-audit" {
  capabilities = ["read"]
}

# Every process may ask about its own token, renew it and give it back.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}
