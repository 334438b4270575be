record(included generate_config)
