"""How a company's directory describes people (SCIM 2.0): its models, bodies, changes and filters."""
