# Vault in server mode, for docker-compose.yml.
#
# The certificate comes from deploy/make-secrets, with a certificate authority of its own that the
# service checks against (VAULT_CACERT). Put your own in its place if you have one; the name it must
# carry is "vault".
#
# Vault starts sealed. `vault operator init` prints the unseal keys and the root token once: give
# the keys to different people, and revoke the root token after deploy/vault-setup. To let Vault
# unseal itself, add a seal stanza of your cloud's or HSM's key service here.

storage "raft" {
  path    = "/vault/file"
  node_id = "vault"
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "127.0.0.1:8201"
  tls_cert_file   = "/run/secrets/vault_tls_cert"
  tls_key_file    = "/run/secrets/vault_tls_key"
}

api_addr     = "https://vault:8200"
cluster_addr = "https://127.0.0.1:8201"

# Raft maps its file into memory, which mlock would defeat: switch swap off on the host instead.
disable_mlock = true
ui            = false
