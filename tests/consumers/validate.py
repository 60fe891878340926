"""Validates a JSON document against a JSON schema: validate.py SCHEMA DOCUMENT."""

import json
import sys

import jsonschema

schema, document = (json.load(open(path)) for path in sys.argv[1:3])
jsonschema.validate(document, schema)
