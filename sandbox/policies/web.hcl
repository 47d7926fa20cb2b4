# The web processes: they store what people paste or register and read what applications fetch.
# They can destroy nothing, overwrite nothing, and not read back a vendor account's credential.

path "keyvault/data/keys/+" {
  capabilities = ["create", "read"]
}

path "keyvault/data/accounts/+" {
  capabilities = ["create"]
}

path "keyvault/data/webhooks/+" {
  capabilities = ["create"]
}

path "keyvault/data/probe/+" {
  capabilities = ["create", "read"]
}

path "keyvault/metadata/keys/+" {
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
