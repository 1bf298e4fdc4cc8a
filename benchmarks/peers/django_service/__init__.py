"""Laboratory results behind Django REST framework, with django-simple-history and without."""
