"""The shop's own tests: `python manage.py test`. No worker, broker, mail server or sleep is needed."""
