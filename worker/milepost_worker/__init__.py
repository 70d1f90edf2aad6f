"""The hands of Milepost: an arq worker that runs attempts and reports what happens."""
