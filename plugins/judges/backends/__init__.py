"""Who answers: a server, a model in a folder, a file of replies."""
